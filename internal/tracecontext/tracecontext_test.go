package tracecontext

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

const (
	trace  = "0af7651916cd43dd8448eb211c80319c"
	span   = "b7ad6b7169203331"
	parent = "00-" + trace + "-" + span + "-01"
)

// TestTraceParent follows W3C Trace Context, section 3.2.2, and the cases of its test suite.
func TestTraceParent(t *testing.T) {
	for name, c := range map[string]struct {
		headers []string
		ok      bool
	}{
		"as it should be":           {[]string{parent}, true},
		"not sampled":               {[]string{"00-" + trace + "-" + span + "-00"}, true},
		"unknown flags":             {[]string{"00-" + trace + "-" + span + "-fe"}, true},
		"none":                      {nil, false},
		"empty":                     {[]string{""}, false},
		"several headers":           {[]string{parent, parent}, false},
		"version ff":                {[]string{"ff" + parent[2:]}, false},
		"version in upper case":     {[]string{"CC" + parent[2:]}, false},
		"version no hexadecimal":    {[]string{".0" + parent[2:]}, false},
		"version too short":         {[]string{parent[1:]}, false},
		"version too long":          {[]string{"0" + parent}, false},
		"version 00 with more":      {[]string{parent + "-more"}, false},
		"version 00 with a dot":     {[]string{parent + "."}, false},
		"later version":             {[]string{"cc" + parent[2:]}, true},
		"later version with more":   {[]string{"cc" + parent[2:] + "-what-the-future-will-be-like"}, true},
		"later version, no dash":    {[]string{"cc" + parent[2:] + ".what"}, false},
		"later version, only dash":  {[]string{"cc" + parent[2:] + "-"}, true},
		"later version, too long":   {[]string{"cc" + parent[2:] + "-" + strings.Repeat("x", 5000)}, false},
		"later version, no ASCII":   {[]string{"cc" + parent[2:] + "-\xff"}, false},
		"trace id of zeros":         {[]string{"00-" + strings.Repeat("0", 32) + "-" + span + "-01"}, false},
		"trace id in upper case":    {[]string{"00-" + strings.ToUpper(trace) + "-" + span + "-01"}, false},
		"trace id no hexadecimal":   {[]string{"00-" + trace[1:] + "g-" + span + "-01"}, false},
		"trace id too short":        {[]string{"00-" + trace[1:] + "-" + span + "-01"}, false},
		"trace id too long":         {[]string{"00-" + trace + "0-" + span + "-01"}, false},
		"parent id of zeros":        {[]string{"00-" + trace + "-0000000000000000-01"}, false},
		"parent id in upper case":   {[]string{"00-" + trace + "-" + strings.ToUpper(span) + "-01"}, false},
		"parent id no hexadecimal":  {[]string{"00-" + trace + "-" + span[1:] + ".-01"}, false},
		"parent id too short":       {[]string{"00-" + trace + "-" + span[1:] + "-01"}, false},
		"flags in upper case":       {[]string{"00-" + trace + "-" + span + "-0A"}, false},
		"flags too short":           {[]string{"00-" + trace + "-" + span + "-1"}, false},
		"flags too long":            {[]string{"00-" + trace + "-" + span + "-001"}, false},
		"other separators":          {[]string{strings.ReplaceAll(parent, "-", "_")}, false},
		"as long, and no separator": {[]string{strings.Repeat("0", 55)}, false},
	} {
		got, state := FromHeader(http.Header{"Traceparent": c.headers, "Tracestate": {"a=1"}})
		switch {
		case c.ok && (got != c.headers[0] || state != "a=1"):
			t.Errorf("%s: %q became %q with state %q", name, c.headers, got, state)
		case !c.ok && (got != "" || state != ""):
			t.Errorf("%s: %q was taken as %q with state %q", name, c.headers, got, state)
		}
	}
}

// TestTraceState follows section 3.3.1.
func TestTraceState(t *testing.T) {
	long := strings.Repeat("z", 256)
	members := func(n int) string { return strings.TrimSuffix(strings.Repeat("a=1,", n), ",") }
	for name, c := range map[string]struct {
		headers []string
		want    string
	}{
		"none":                       {nil, ""},
		"one":                        {[]string{"foo=1"}, "foo=1"},
		"several headers":            {[]string{"foo=1,bar=2", "rojo=1", "baz=3"}, "foo=1,bar=2,rojo=1,baz=3"},
		"space and tabs around":      {[]string{"foo=1 \t , \t bar=2, \t baz=3"}, "foo=1,bar=2,baz=3"},
		"empty members":              {[]string{"foo=1,,", "", "bar=2"}, "foo=1,bar=2"},
		"only empty members":         {[]string{",,"}, ""},
		"a key twice":                {[]string{"foo=1,foo=2"}, "foo=1,foo=2"},
		"all characters of a key":    {[]string{"abcdefghijklmnopqrstuvwxyz0123456789_-*/@x=1"}, "abcdefghijklmnopqrstuvwxyz0123456789_-*/@x=1"},
		"characters of a value":      {[]string{`foo=!"#$ %&'~`}, `foo=!"#$ %&'~`},
		"a tenant":                   {[]string{"fw529a3039@dt=FfMyYjY"}, "fw529a3039@dt=FfMyYjY"},
		"32 members":                 {[]string{members(32)}, members(32)},
		"33 members":                 {[]string{members(33)}, ""},
		"33 members in two headers":  {[]string{members(32), "b=1"}, ""},
		"a key of 256":               {[]string{long + "=1"}, long + "=1"},
		"a key of 257":               {[]string{long + "z=1"}, ""},
		"a value of 256":             {[]string{"a=" + long}, "a=" + long},
		"a value of 257":             {[]string{"a=" + long + "z"}, ""},
		"longer than an attribute":   {[]string{strings.TrimSuffix(strings.Repeat("a="+long+",", 16), ",")}, ""},
		"a key in upper case":        {[]string{"FOO=1,bar=2"}, ""},
		"a key with a dot":           {[]string{"foo.bar=1"}, ""},
		"a key with space behind it": {[]string{"foo =1"}, ""},
		"a key that begins with @":   {[]string{"@foo=1"}, ""},
		"no key":                     {[]string{"=1"}, ""},
		"no value":                   {[]string{"foo=,bar=3"}, ""},
		"no equals sign":             {[]string{"foo"}, ""},
		"two equals signs":           {[]string{"foo=bar=baz"}, ""},
		"no ASCII":                   {[]string{"foo=\xff"}, ""},
	} {
		got, state := FromHeader(http.Header{"Traceparent": {parent}, "Tracestate": c.headers})
		if got != parent || state != c.want {
			t.Errorf("%s: %q became %q, want %q", name, c.headers, state, c.want)
		}
	}
}

func TestBegin(t *testing.T) {
	flow := tandem.NewID()
	id := strings.ReplaceAll(flow, "-", "")
	if got := Begin(flow); got != "00-"+id+"-"+id[16:]+"-01" || !valid(got) {
		t.Errorf("flow %s began %q", flow, got)
	}
	seen := map[string]bool{}
	for _, flow := range []string{"f", "g", "", strings.ToUpper(flow), "00000000-0000-0000-0000-000000000000", strings.Repeat("-", 36)} {
		got := Begin(flow)
		if !valid(got) || got != Begin(flow) || seen[ID(got)] {
			t.Errorf("flow %q began %q", flow, got)
		}
		seen[ID(got)] = true
	}
}

func TestOfEvents(t *testing.T) {
	other := strings.Replace(parent, trace, strings.Repeat("1", 32), 1)
	for name, c := range map[string]struct{ own, ownState, parent, state, want, wantState string }{
		"its own stands":              {other, "own=1", parent, "a=1", other, "own=1"},
		"its own is tidied":           {other, "own=1, b=2", parent, "a=1", other, "own=1,b=2"},
		"its own state is invalid":    {other, "OWN", parent, "a=1", other, ""},
		"none":                        {"", "", parent, "a=1", parent, "a=1"},
		"its own is invalid":          {"rubbish", "own=1", parent, "a=1", parent, "a=1"},
		"both are invalid":            {"rubbish", "own=1", "rubbish", "a=1", "", ""},
		"there is none at all":        {"", "", "", "", "", ""},
		"a state without a parent":    {"", "own=1", "", "", "", ""},
		"the state taken is not good": {"", "", parent, "A", parent, ""},
	} {
		m := tandem.Meta{Flow: tandem.NewID(), TraceParent: c.own, TraceState: c.ownState}
		if Adopt(&m, c.parent, c.state); m.TraceParent != c.want || m.TraceState != c.wantState {
			t.Errorf("%s: %q %q", name, m.TraceParent, m.TraceState)
		}
		ev := tandem.Event{Meta: m}
		if (Sampling{}).Ensure("t", &ev); c.want != "" && ev.Meta.TraceParent != c.want || c.want == "" && ev.Meta.TraceParent != Begin(m.Flow) {
			t.Errorf("%s: ensured %q", name, ev.Meta.TraceParent)
		}
	}
	var a, b tandem.Event
	if (Sampling{}).Ensure("t", &a); ID(a.Meta.TraceParent) == "" {
		t.Error("an event without a flow has no trace")
	}
	if (Sampling{}).Ensure("t", &b); a.Meta.TraceParent == b.Meta.TraceParent {
		t.Error("events without a flow share a trace")
	}
}

// TestAllocations: what is there already costs nothing, and a trace that is begun is one string.
func TestAllocations(t *testing.T) {
	ev := tandem.Event{Meta: tandem.Meta{TraceParent: parent, TraceState: "foo=1,bar=2"}}
	if n := testing.AllocsPerRun(100, func() { Sampling{}.Ensure("t", &ev) }); n != 0 {
		t.Errorf("a trace that is there: %v allocations", n)
	}
	flow := tandem.NewID()
	if n := testing.AllocsPerRun(100, func() { ev.Meta = tandem.Meta{Flow: flow}; Sampling{}.Ensure("t", &ev) }); n != 1 {
		t.Errorf("a trace that is begun: %v allocations", n)
	}
}
