package eventlog

import (
	"context"
	"fmt"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// A number that this log has not given yet belongs to another life of it: waiting for it would skip what comes until then.
func TestCursorOfTheFuture(t *testing.T) {
	for name, opts := range map[string]memlog.Options{"total": {}, "partitioned": {Partitioned: true}} {
		t.Run(name, func(t *testing.T) { testCursorOfTheFuture(t, opts) })
	}
}

func testCursorOfTheFuture(t *testing.T, opts memlog.Options) {
	ctx := context.Background()
	l, err := Open(ctx, memlog.New(opts), Options{AutoCreate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := l.CreateTopic(ctx, tandem.Topic{Name: "t", Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.Append(ctx, "t", []tandem.Event{{Source: "/t", Type: "t"}, {Source: "/t", Type: "t"}})
	if err != nil {
		t.Fatal(err)
	}
	sel, err := Select("t")
	if err != nil {
		t.Fatal(err)
	}
	for ahead, want := range map[uint64]string{0: "", 1: tandem.GapForeign, 1000: tandem.GapForeign} {
		at := l.cursors.encode(got[1].Offset + ahead)
		if opts.Partitioned {
			v := vectorTopic{name: nameHash("t"), id: info.ID, next: []uint64{got[1].Offset + 1 + ahead}}
			if at, err = encodeVector(l.info.LogID, []vectorTopic{v}); err != nil {
				t.Fatal(err)
			}
		}
		r, err := l.NewReader(ctx, sel, tandem.Start{Cursor: at})
		if err != nil {
			t.Fatal(err)
		}
		p, err := r.Read(ctx, tandem.Filter{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		if want == "" && (p.Gap != nil || len(p.Events) != 0) || want != "" && (p.Gap == nil || p.Gap.Reason != want || len(p.Events) != 2) {
			t.Errorf("%d numbers ahead: %+v", ahead, p)
		}
	}
}

// A reader with large events in many partitions holds about bufferBytes, and reads again what it let go.
func TestReadAheadIsBounded(t *testing.T) {
	ctx := context.Background()
	l, err := Open(ctx, memlog.New(memlog.Options{}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const parts, rounds, size = 64, 6, 200 << 10
	if _, err := l.CreateTopic(ctx, tandem.Topic{Name: "t", Partitions: parts}); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, size)
	for range rounds * parts {
		if _, err := l.Append(ctx, "t", []tandem.Event{{Source: "/t", Type: "t", Data: data, DataContentType: "image/png"}}); err != nil {
			t.Fatal(err)
		}
	}
	sel, err := Select("t")
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.NewReader(ctx, sel, tandem.Start{Earliest: true})
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for n := 0; n < rounds*parts; {
		p, err := r.Read(ctx, tandem.Filter{}, 100)
		if err != nil || len(p.Events) == 0 {
			t.Fatal(len(p.Events), err)
		}
		if bytes := len(p.Events) * size; bytes > pageBytes+size {
			t.Fatalf("a page has %d bytes", bytes)
		}
		if held := r.held(); held > bufferBytes+size {
			t.Fatalf("the reader holds %d bytes ahead", held)
		}
		for _, e := range p.Events {
			if e.Position.Offset <= last {
				t.Fatalf("number %d follows %d", e.Position.Offset, last)
			}
			last = e.Position.Offset
			n++
		}
	}
}

func BenchmarkIdleRead(b *testing.B) {
	ctx := context.Background()
	for _, topics := range []int{10, 10_000} {
		b.Run(fmt.Sprint("topics=", topics), func(b *testing.B) {
			l, err := Open(ctx, memlog.New(memlog.Options{}), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			for i := range topics {
				if _, err := l.CreateTopic(ctx, tandem.Topic{Name: fmt.Sprint("t", i)}); err != nil {
					b.Fatal(err)
				}
			}
			sel, err := Select("**")
			if err != nil {
				b.Fatal(err)
			}
			r, err := l.NewReader(ctx, sel, tandem.Start{})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := r.Read(ctx, tandem.Filter{}, 100); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
