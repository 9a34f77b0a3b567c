package main

import (
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
)

func TestStreams(t *testing.T) {
	t.Chdir(t.TempDir())
	serve(t)
	if out := must(t, "streams"); out != "0 open\n" {
		t.Errorf("%q", out)
	}
	must(t, "publish", "orders", "1", "--type", "a")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan int, 2)
	for _, args := range [][]string{{"tail", "orders", "--type", "a"}, {"tail", "**"}} {
		out := newBuffer()
		go func() {
			done <- run(ctx, append(args, "--from", "earliest"), nil, out, io.Discard)
		}()
		out.await(t, `^\S+ a - 1\n`) // so that the one is there before the other
	}
	head := `PRINCIPAL\tADDRESS\tKIND\tSTATE\tEVENTS\tSINCE\tTOPICS\tFILTER\n`
	all := `local\t127.0.0.1:\d+\tsse\t(live|behind)\t\d+\t\S+\t\*\*\t-\n`
	some := `local\t127.0.0.1:\d+\tsse\t(live|behind)\t\d+\t\S+\torders\t{"any":\[{"exact":{"type":"a"}}\]}\n`
	for args, want := range map[string]string{
		"streams":                            `^2 open, 1 on \*\*, 1 on orders\n` + head + all + some + `$`,
		"streams -n 1":                       `^2 open, 1 on \*\*, 1 on orders\n` + head + all + `and 1 more\n$`,
		"streams --topic audit":              `^2 open, 1 on \*\*, 1 on orders\n1 of them match\n` + head + all + `$`,
		"streams --principal alice":          `^2 open, 1 on \*\*, 1 on orders\n0 of them match\n$`,
		"streams --topic orders -n 0 --json": `^{"open":2,"topics":{"\*\*":1,"orders":1},"streams":\[\],"matching":2}\n$`,
	} {
		if out := must(t, strings.Fields(args)...); !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("tandem %s:\n%s\nwant\n%s", args, out, want)
		}
	}
	if status, _, errs := tool(t, "", "streams", "-n", "1001"); status != exitUsage || !strings.Contains(errs, "limit: must be a number from 0 to 1000") {
		t.Errorf("%d %q", status, errs)
	}
	cancel()
	for range 2 {
		if status := <-done; status != exitOK {
			t.Errorf("tail ended with %d", status)
		}
	}
}
