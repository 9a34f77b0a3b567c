package chain

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// everywhere is a link of all topics.
type everywhere struct{ Link }

func (everywhere) Reads(string) bool { return true }

// TestTableIsBounded: whoever asks for names that no topic has fills no memory, and is answered rightly.
func TestTableIsBounded(t *testing.T) {
	table := &table{links: []Link{everywhere{}}}
	for i := range maxTopics + 100 {
		if n := len(table.of(fmt.Sprint("topic", i))); n != 1 {
			t.Fatalf("%d links", n)
		}
	}
	n := 0
	table.topics.Range(func(any, any) bool { n++; return true })
	if n != maxTopics {
		t.Errorf("%d names are kept", n)
	}
}

// TestRecordsAreBounded: beyond a size, the oldest records are removed before their day is over.
func TestRecordsAreBounded(t *testing.T) {
	log, err := eventlog.Open(t.Context(), memlog.New(memlog.Options{}), eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c := New(log, Options{})
	put := func(name string, age time.Duration) int {
		value := fmt.Appendf(nil, `{"v":1,"since":%q,"padding":%q}`, time.Now().Add(-age).UTC().Format(time.RFC3339Nano), strings.Repeat("x", 1000))
		if _, err := log.Commit(t.Context(), &eventlog.Tx{State: []driver.StateOp{{Key: Prefix + name, Value: value}}}); err != nil {
			t.Fatal(err)
		}
		return len(Prefix+name) + len(value)
	}
	sizes := 0
	for i, name := range []string{"d", "a", "c", "b"} { // the order of keys is not that of time
		sizes += put(name, time.Duration(i)*time.Hour)
	}
	put("old", 25*time.Hour)
	left := func() (names string) {
		if err := log.ScanState(t.Context(), Prefix, func(key string, _ []byte) bool { names += key[len(Prefix):]; return true }); err != nil {
			t.Fatal(err)
		}
		return names
	}
	for _, tt := range []struct {
		most int
		want string
	}{{sizes, "abcd"}, {sizes - 1, "acd"}, {sizes/2 + 100, "ad"}, {0, ""}} {
		if err := c.sweepOnce(t.Context(), tt.most); err != nil || left() != tt.want {
			t.Errorf("of at most %d bytes %q is left, %v", tt.most, left(), err)
		}
	}
}
