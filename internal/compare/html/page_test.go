package html

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
	"github.com/tandem-hybrid/tandem/internal/compare/reporttest"
)

// Each cell's figures stand in its row, in the order of the columns.
func TestFiguresOfEachCell(t *testing.T) {
	r := reporttest.Report()
	_, root := pageFor(t, r)
	text := root.text()
	for i := range r.Findings {
		_, groups := figure.Groups(&r.Findings[i])
		var want []string
		for n, columns := range [][]figure.Column{figure.Latencies, figure.OutcomesOf(groups), figure.Costs} {
			columns = figure.Measured(columns, groups)
			for _, g := range groups {
				want = append(want, g.Name)
				for _, s := range g.Series {
					row := s.Name
					switch {
					case s.NotReachable != "" && n == 0:
						row += " Not reachable here: " + s.NotReachable
					case s.NotReachable != "":
						row += " Not reachable here"
					default:
						for _, c := range columns {
							v := c.Get(s.Cell)
							if v.Text == "" {
								v.Text = "–"
							}
							row += strings.TrimRight(" "+v.Text+" "+v.Note, " ")
						}
					}
					want = append(want, row)
				}
			}
		}
		section := root.all("section")[i+1]
		for _, s := range section.all("details") {
			s.kids = nil
		}
		var got []string
		for _, body := range section.all("tbody") {
			for _, row := range body.all("tr") {
				got = append(got, row.text())
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwhere this was wanted:\n%s", r.Findings[i].Scenario, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	for _, a := range r.Advice {
		for _, s := range []string{a.Link, a.Reason, a.Figure} {
			if !strings.Contains(text, s) {
				t.Errorf("the page does not say %q", s)
			}
		}
	}
	for _, s := range []string{"Of 5 things that the literature says, this run agreed with 2, agreed in part with 1, did not agree with 1 and did not measure 1.", "Seed 7", "3 min 2 s",
		r.Command, "AMD EPYC 7B13", "8.59 GB", "9.73 s after the fault ended"} {
		if !strings.Contains(text, s) {
			t.Errorf("the page does not say %q", s)
		}
	}
}

// The answer comes first, how to repeat it and what is missing come last.
func TestOrder(t *testing.T) {
	_, root := pageFor(t, reporttest.Report())
	var got []string
	for _, h := range root.all("h2") {
		got = append(got, h.text())
	}
	if want := []string{"The answer", "Order processing", "Waiting for something", "How to repeat it", "What was not measured"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// hostile sets every string of a report to one that must not be believed, and returns them.
func hostile(v reflect.Value, path string) (all []string) {
	switch v.Kind() {
	case reflect.String:
		s := `<i>"'&` + path + `</style></svg><script>alert(1)</script><!--"'&` + "`" + `onload=x`
		v.SetString(s)
		return []string{s}
	case reflect.Pointer:
		if !v.IsNil() {
			return hostile(v.Elem(), path)
		}
	case reflect.Slice:
		for i := range v.Len() {
			all = append(all, hostile(v.Index(i), fmt.Sprint(path, i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Type == reflect.TypeFor[time.Time]() || f.Name == "NotReachable" {
				continue
			}
			all = append(all, hostile(v.Field(i), path+"."+f.Name)...)
		}
	}
	return all
}

var (
	elements = []string{"html", "head", "meta", "title", "style", "body", "a", "header", "main", "section", "nav", "p", "h1", "h2", "h3", "strong", "small", "code", "cite", "span", "abbr", "ol", "ul", "li",
		"dl", "dt", "dd", "div", "pre", "details", "summary", "figure", "figcaption", "table", "thead", "tbody", "tr", "th", "td", "svg", "desc", "path", "rect", "circle", "polyline", "text"}
	attributes = []string{"lang", "charset", "http-equiv", "content", "name", "class", "id", "href", "role", "tabindex", "aria-label", "aria-labelledby", "aria-hidden", "title", "scope", "colspan", "open",
		"viewBox", "width", "height", "d", "x", "y", "cx", "cy", "r", "points", "stroke-width", "text-anchor"}
)

// What a report names is text: it makes no element and no attribute, and nothing of it is swallowed.
func TestHostileNames(t *testing.T) {
	for _, reachable := range []bool{true, false} {
		r := reporttest.Report()
		all := hostile(reflect.ValueOf(r).Elem(), "")
		for i := range r.Findings { // a condition has one name in all cells; that of a parameter that few have is not shown
			for j := range r.Findings[i].Cells {
				for k := range r.Findings[i].Cells[j].Params {
					r.Findings[i].Cells[j].Params[k].Name = r.Findings[i].Cells[0].Params[k].Name
				}
			}
		}
		if !reachable {
			all = nil
			for i := range r.Findings {
				for j := range r.Findings[i].Cells {
					all = append(all, hostile(reflect.ValueOf(&r.Findings[i].Cells[j].NotReachable).Elem(), fmt.Sprint(".Not", i, "-", j))...)
				}
			}
		}
		page, root := pageFor(t, r)
		if strings.Contains(page, "<script") || strings.Contains(page, "<!--") {
			t.Error("a script or a comment is on the page")
		}
		for _, n := range root.all("*") {
			if !slices.Contains(elements, n.name) {
				t.Errorf("an element %s", n.name)
			}
			for name, value := range n.attrs {
				if !slices.Contains(attributes, name) {
					t.Errorf("an attribute %s of %s: %s", name, n.name, value)
				}
				if name != "content" && strings.Contains(value, "alert") {
					t.Errorf("%s=%q", name, value)
				}
			}
		}
		text := root.text()
		for _, s := range all {
			if strings.Contains(s, "Params") && strings.Contains(s, ".Name") && !strings.Contains(s, ".Findings0.Cells0") && !strings.Contains(s, ".Findings1.Cells0.Params0") {
				continue
			}
			if !strings.Contains(text, strings.Join(strings.Fields(s), " ")) {
				t.Errorf("%s is not on the page", s)
			}
		}
	}
}

// The page's own policy allows its style sheet and nothing else, and there is nothing else.
func TestSelfContained(t *testing.T) {
	page, root := pageFor(t, reporttest.Report())
	_, rest, _ := strings.Cut(page, "<style>")
	sheet, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(sheet))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
	if got := root.all("meta")[1].attrs["content"]; got != want {
		t.Errorf("the policy is %s, not %s", got, want)
	}
	if strings.Contains(page, "//") || strings.Contains(sheet, "url(") || strings.Contains(sheet, "@import") {
		t.Error("the page names an address")
	}
	for _, a := range root.all("a") {
		if !strings.HasPrefix(a.attrs["href"], "#") {
			t.Errorf("a link to %s", a.attrs["href"])
		}
	}
}

// What is nil or absent is a dash, or not there.
func TestNothingIsNotZero(t *testing.T) {
	r := &compare.Report{Findings: []compare.Finding{{Title: "Nothing", Cells: []compare.Cell{
		{Style: "request", Answered: &compare.Latency{Count: 9, P99: 7 * time.Millisecond}, Outcome: compare.Outcome{Accepted: 9, Lost: new(int64)}, PerUnit: compare.PerUnit{Requests: new(float64)},
			Processes: []compare.Process{{Name: "orders", CPU: time.Second}}},
		{Style: "event", Answered: &compare.Latency{}, Processes: []compare.Process{{Name: "stock", MemoryBytes: 5e6}}},
	}}}}
	_, root := pageFor(t, r)
	var got []string
	for _, row := range root.all("tr") {
		got = append(got, row.text())
	}
	want := []string{
		"answered", "p99", "request 7.00 ms", "event –",
		"outcome", "accepted refused unknown lost", "request 9 0 0 0", "event – – – –",
		"for one accepted unit", "requests", "request 0", "event –",
		"request event", "CPU memory CPU memory", "orders 1.00 s – – –", "stock – – 0 s 5 MB",
	}
	// The drawn column has an axis for a head.
	got[1] = strings.TrimPrefix(got[1], root.all("svg")[0].text()+" ")
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwhere this was wanted:\n%q", got, want)
	}
	if !strings.Contains(root.text(), "Not measured: twice, half done.") {
		t.Error("the page does not say what was not measured")
	}
	for _, zero := range []string{"0 core", "0 B", "Memory", "Processor", "January 1", "Runs of each cell", "Availability"} {
		if strings.Contains(root.text(), zero) {
			t.Errorf("the page says %q", zero)
		}
	}
}

// A cell that was not reachable says why and has no latency, also when it holds one.
func TestNotReachable(t *testing.T) {
	r := reporttest.Report()
	f := &r.Findings[0]
	f.Cells = f.Cells[:2]
	f.Cells[0].NotReachable = "too fast for this machine"
	_, root := pageFor(t, r)
	section := root.all("section")[1]
	if rows := section.all("tr.c0"); len(rows) != 3 || rows[0].text() != "request Not reachable here: too fast for this machine" {
		t.Errorf("%d rows, the first says %s", len(rows), rows[0].text())
	}
	for _, q := range []time.Duration{f.Cells[0].Answered.P50, f.Cells[0].Answered.P99, f.Cells[0].Done.P50, f.Cells[0].Samples[0].P99} {
		if strings.Contains(section.text(), figure.Duration(q)) {
			t.Errorf("the page says %s", figure.Duration(q))
		}
	}
	for _, p := range section.all("svg.plot") {
		if drawn := len(p.all("polyline.c0")); drawn > 0 && strings.Contains(p.attrs["id"], "p99") || drawn > 0 && strings.Contains(p.attrs["id"], "answered") {
			t.Errorf("%s has a line of it", p.attrs["id"])
		}
	}
}

func TestPartial(t *testing.T) {
	r := reporttest.Report()
	for _, why := range []string{"", "It was interrupted after 41 s."} {
		r.Partial = why
		_, root := pageFor(t, r)
		text := root.text()
		if marked := strings.Contains(text, "This run is partial. "+why) && strings.Contains(root.all("title")[0].text(), "partial"); marked != (why != "") {
			t.Errorf("partial %q: %s", why, text[:300])
		}
	}
}

// The same style has the same colour everywhere; requests and events have theirs whatever else there is.
func TestOneColourForEachStyle(t *testing.T) {
	_, root := pageFor(t, reporttest.Full())
	classes := map[string]string{}
	for _, row := range root.all("tr") {
		class := row.attrs["class"]
		if !strings.HasPrefix(class, "c") {
			continue
		}
		style := row.all("th")[0].text()
		if classes[style] == "" {
			classes[style] = class
		}
		if classes[style] != class {
			t.Errorf("%s is %s and %s", style, classes[style], class)
		}
	}
	taken := map[string]string{}
	for style, class := range classes {
		if other := taken[class]; other != "" {
			t.Errorf("%s and %s are both %s", style, other, class)
		}
		taken[class] = style
	}
	if classes["request"] != "c0" || classes["event"] != "c1" || len(classes) != 8 {
		t.Errorf("%v", classes)
	}
}

// A full run makes a page that can be sent by mail.
func TestSizeOfAFullRun(t *testing.T) {
	r := reporttest.Full()
	cells := 0
	for _, f := range r.Findings {
		cells += len(f.Cells)
	}
	var page bytes.Buffer
	if err := Write(&page, r); err != nil || cells < 160 || page.Len() > 2<<20 {
		t.Errorf("%d cells make %d bytes: %v", cells, page.Len(), err)
	}
}
