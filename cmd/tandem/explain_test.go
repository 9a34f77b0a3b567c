package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

// TestExplain prints a sentence for each subscription, and the attempts.
func TestExplain(t *testing.T) {
	t.Chdir(t.TempDir())
	config := `topics: {orders: {partitions: 1}}
subscriptions:
  mail: {topics: [orders], filter: {type: other}, pull: {}}
  work: {topics: [orders], pull: {}}
`
	if err := os.WriteFile("tandem.yaml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	serve(t, "--config", "tandem.yaml")
	must(t, "publish", "orders", "1", "--type", "order.placed", "--source", "/orders", "--id", "7", "--key", "k")
	must(t, "pull", "work", "--ack")
	want := `^orders/0/\d+  7 order\.placed key k from /orders
mail  filter  The filter of version 1 of its declaration, in force since \S+, does not match: {"exact":{"type":"other"}} is false, where type is "order\.placed"\.
work  delivered  It was delivered at \S+, at the first attempt\.
  attempt 1 .*
$`
	if out := must(t, "explain", "7", "--source", "/orders"); !regexp.MustCompile(want).MatchString(out) {
		t.Errorf("%s\nwant\n%s", out, want)
	}
	var e tandem.Explanation
	if err := json.Unmarshal([]byte(must(t, "explain", "7", "--source", "/orders", "--subscription", "work", "--json")), &e); err != nil || len(e.Reasons) != 1 || e.Reasons[0].Code != tandem.WhyDelivered {
		t.Errorf("%v: %+v", err, e)
	}
	if out := must(t, "explain", "--position", e.Events[0].Position.String(), "--subscription", "nobody"); !strings.Contains(out, `no-subscription  There is no subscription "nobody".`) {
		t.Error(out)
	}
	if out := must(t, "explain", "8", "--source", "/orders"); !strings.Contains(out, "no-event  There is no event") || !strings.Contains(out, "searched  ") {
		t.Error(out)
	}
	for args, want := range map[string]int{"explain": exitUsage, "explain 7": exitUsage, "explain --position x": exitUsage, "explain 7 --source /a --position orders/0/1": exitUsage} {
		if status, _, errs := tool(t, "", strings.Fields(args)...); status != want {
			t.Errorf("tandem %s: %d %s", args, status, errs)
		}
	}
}
