package stateindex_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-hybrid/tandem/eventlog/stateindex"
)

func open(t testing.TB, dir string, log byte) *stateindex.Index {
	t.Helper()
	x, err := stateindex.Open(dir, [8]byte{log})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func all(t testing.TB, x *stateindex.Index, from, to string) []string {
	t.Helper()
	got := []string{}
	if err := x.Scan(from, to, func(k string, v []byte, rev uint64) bool {
		got = append(got, fmt.Sprintf("%q=%s@%d", k, v, rev))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestIndex: records in order of keys with the place that goes with them, in memory and on disk, until it is of another log.
func TestIndex(t *testing.T) {
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "made", "state")} {
		x := open(t, dir, 1)
		ops := []stateindex.Op{{Key: "b", Value: []byte("1"), Rev: 1}, {Key: "a\x00", Value: []byte{}, Rev: 2}, {Key: "a", Value: []byte("2"), Rev: 3},
			{Key: "b", Value: []byte("3"), Rev: 4}, {Key: "\xff", Value: []byte("4"), Rev: 5}, {Key: "gone", Value: []byte("5"), Rev: 6}}
		if err := x.Apply(7, ops); err != nil {
			t.Fatal(err)
		}
		if err := x.Apply(8, []stateindex.Op{{Key: "gone"}, {Key: "never"}}); err != nil {
			t.Fatal(err)
		}
		check := func() {
			t.Helper()
			if d := cmp.Diff([]string{`"a"=2@3`, `"a\x00"=@2`, `"b"=3@4`, `"\xff"=4@5`}, all(t, x, "", "")); d != "" {
				t.Errorf("all (-want +got):\n%s", d)
			}
			if d := cmp.Diff([]string{`"a\x00"=@2`}, all(t, x, "a\x00", "b")); d != "" {
				t.Errorf("a range (-want +got):\n%s", d)
			}
			v, rev, ok, err := x.Get("a\x00")
			if err != nil || !ok || v == nil || len(v) != 0 || rev != 2 {
				t.Errorf("Get: %q, %d, %v, %v", v, rev, ok, err)
			}
			if _, _, ok, err := x.Get("gone"); ok || err != nil {
				t.Errorf("Get of what is deleted: %v, %v", ok, err)
			}
			if n, err := x.Next(); n != 8 || err != nil {
				t.Errorf("Next is %d, %v", n, err)
			}
		}
		check()
		if dir == "" {
			if err := x.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		x = open(t, dir, 1)
		check()
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		x = open(t, dir, 2)
		if n, err := x.Next(); n != 0 || err != nil || len(all(t, x, "", "")) != 0 {
			t.Errorf("the store of another log was kept: %d, %v", n, err)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
