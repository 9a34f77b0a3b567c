package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/pebblelog"
	"github.com/tandem-hybrid/tandem/internal/migrate"
)

// TestMigrate copies a log from one directory to another, by name and by configuration, with the statuses and texts that scripts rely on.
func TestMigrate(t *testing.T) {
	t.Chdir(t.TempDir())
	e, err := pebblelog.Open("old", pebblelog.Options{FreeBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	l, err := eventlog.Open(t.Context(), e, eventlog.Options{AutoCreate: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := l.Append(context.Background(), "orders", []tandem.Event{{Source: "/t", Type: "t", Subject: fmt.Sprint(i), Data: []byte("1")}}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(status int, says string, args ...string) (out string) {
		t.Helper()
		got, out, errs := tool(t, "", append([]string{"migrate"}, args...)...)
		if got != status || !strings.Contains(out+errs, says) {
			t.Fatalf("tandem migrate %v: %d\n%s%s\nwant %d and %q", args, got, out, errs, status, says)
		}
		return out
	}
	expect(exitConflict, "stop the other one", "--from", "old", "--to", "new")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("new.yaml", []byte("data: ./new\nlimits: {freeBytes: -1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(exitUsage, "--from is missing", "--to", "new.yaml")
	expect(exitUsage, "cannot be given together", "--from", "old", "--to", "new.yaml", "--dry-run", "--verify-only")
	expect(exitNotFound, "no log", "--from", "nowhere", "--to", "new.yaml")
	if _, err := os.Stat("nowhere"); err == nil {
		t.Error("a source that is not there is made")
	}
	expect(exitOK, "20 events", "--from", "old", "--to", "new.yaml", "--dry-run")
	expect(exitNotFound, "finished", "--from", "old", "--to", "new.yaml", "--verify-only")
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	var errs strings.Builder
	if status := run(stopped, []string{"migrate", "--from", "old", "--to", "new.yaml"}, strings.NewReader(""), io.Discard, &errs); status != exitUnavailable || !strings.Contains(errs.String(), "run the same command again") {
		t.Fatalf("stopped: %d, %s", status, &errs)
	}
	var s migrate.Summary
	if err := json.Unmarshal([]byte(expect(exitOK, "", "--from", "old", "--to", "new.yaml", "--json")), &s); err != nil || s.Events != 20 || len(s.Topics) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	expect(exitConflict, "migrated already", "--from", "old", "--to", "new.yaml")
	expect(exitOK, "compared 20 events of 1 topic", "--from", "old", "--to", filepath.Join(".", "new"), "--verify-only")
	expect(exitOK, "", "--to", "new", "--forget-map")
}

// TestStepBarFailsAtNothing: steps may have nothing to do, or more than was thought.
func TestStepBarFailsAtNothing(t *testing.T) {
	b := &stepBar{out: io.Discard}
	b.close()
	for _, step := range []migrate.Step{migrate.StepEvents, migrate.StepState, migrate.StepVerify} {
		for _, p := range []migrate.Progress{{Total: 10}, {Done: 5, Total: 10}, {Done: 20, Total: 10}, {}} {
			p.Step = step
			b.show(p)
		}
	}
	b.close()
}
