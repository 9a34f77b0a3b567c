package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

// TestFlow draws a flow whose payment fails once.
func TestFlow(t *testing.T) {
	t.Chdir(t.TempDir())
	first := make(chan struct{}, 1)
	first <- struct{}{}
	svc := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-first:
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.Header().Set("Content-Type", tandem.MediaEvent)
			fmt.Fprint(w, `{"specversion":"1.0","id":"x","source":"/payments","type":"payment.taken"}`)
		}
	}))
	defer svc.Close()
	config := fmt.Sprintf(`services: {shop: {url: %q}}
topics: {orders: {partitions: 1}, payments: {partitions: 1}}
subscriptions: {pay: {topics: [orders], service: shop, replies: payments, backoff: {base: 10ms}}, mail: {topics: [orders], filter: {type: other}, service: shop}}
`, svc.URL)
	if err := os.WriteFile("tandem.yaml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	serve(t, "--config", "tandem.yaml")
	must(t, "publish", "orders", "1", "--type", "order.placed", "--source", "/orders", "--id", "7", "--key", "k")
	out := must(t, "tail", "payments", "--from", "earliest", "-n", "1", "--json")
	var e struct{ Tandemflow string }
	if err := json.Unmarshal([]byte(out), &e); err != nil || e.Tandemflow == "" {
		t.Fatalf("%v: %s", err, out)
	}
	times := `  \+\S+( took \S+)?( \(waited \S+, service \S+, backoff \S+\))?` + "\n"
	tree := `^flow ` + e.Tandemflow + `  done  \S+, \S+
└─ event order\.placed orders/0/\d+ key k  stored` + times +
		`   ├─ delivery to mail  skipped` + times +
		`   │  the filter of version 1 of the declaration does not match
   └─ delivery to pay  delivered` + times +
		`      ├─ attempt 1 status 500.*  failed` + times +
		`      └─ attempt 2 status 200  succeeded` + times +
		`         └─ reply payment\.taken payments/0/\d+ key k  stored` + times + `$`
	for _, args := range []string{"flow " + e.Tandemflow, "flow --event 7 --source /orders"} {
		if out := must(t, strings.Fields(args)...); !regexp.MustCompile(tree).MatchString(out) {
			t.Errorf("tandem %s:\n%s\nwant\n%s", args, out, tree)
		}
	}
	var f tandem.Flow
	if err := json.Unmarshal([]byte(must(t, "flow", e.Tandemflow, "--json")), &f); err != nil || f.ID != e.Tandemflow || len(f.Nodes) != 6 {
		t.Errorf("%v: %+v", err, f)
	}
	list := `^FLOW\tSTATE\tSTARTED\tTOOK\tEVENTS\tTYPE\tKEY\n` + e.Tandemflow + `\tdone\t\S+\t\S+\t2\torder\.placed\tk\n$`
	for _, args := range []string{"flow", "flow --type order.placed --key k --state done --since 1h"} {
		if out := must(t, strings.Fields(args)...); !regexp.MustCompile(list).MatchString(out) {
			t.Errorf("tandem %s: %s", args, out)
		}
	}
	if out := must(t, "flow", "--state", "failed"); out != "" {
		t.Errorf("%q", out)
	}
	for args, want := range map[string]int{"flow nope": exitNotFound, "flow x --key k": exitUsage, "flow --event 7": exitUsage, "flow --state lost": exitUsage} {
		if status, _, errs := tool(t, "", strings.Fields(args)...); status != want {
			t.Errorf("tandem %s: %d %s", args, status, errs)
		}
	}
}
