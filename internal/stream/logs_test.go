package stream_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
)

// logs keeps what is logged.
type logs struct {
	mu      sync.Mutex
	records []slog.Record
}

func (l *logs) logger() *slog.Logger { return slog.New(l) }

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }

func (l *logs) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
	return nil
}

func (l *logs) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *logs) WithGroup(string) slog.Handler      { return l }

// check holds the log to so many lines, none of them an error.
func (l *logs) check(t testing.TB, most int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.records) > most {
		t.Errorf("%d lines were logged, at most %d expected; the last is %q", len(l.records), most, l.records[len(l.records)-1].Message)
	}
	for _, r := range l.records {
		if r.Level >= slog.LevelError {
			t.Errorf("logged as an error: %s", r.Message)
		}
	}
}
