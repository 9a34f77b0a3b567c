package match

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

func parse(t testing.TB, text string) tandem.Filter {
	t.Helper()
	f, err := tandem.ParseFilter([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

// starts is a condition that an attribute begins with one of some texts, which may be empty.
type starts struct {
	tandem.Condition
	attribute string
	values    []string
}

func (c starts) Match(e *tandem.Event) bool {
	v, ok := e.Attribute(c.attribute)
	return ok && slices.ContainsFunc(c.values, func(s string) bool { return strings.HasPrefix(v, s) })
}

func (c starts) Clause(*tandem.Event) tandem.FilterClause { return tandem.FilterClause{} }

func (c starts) Bounds() []tandem.Bound {
	return []tandem.Bound{{Attribute: c.attribute, Prefix: true, Values: c.values}}
}

// compile reads "subject a,b" as a condition of that kind.
func compile(_, text string) (tandem.Condition, error) {
	attribute, values, _ := strings.Cut(text, " ")
	return starts{attribute: attribute, values: strings.Split(values, ",")}, nil
}

// world makes random filters and events of few values, so that they meet.
type world struct{ *rand.Rand }

func (w world) pick(list ...string) string { return list[w.IntN(len(list))] }

func (w world) attribute() string {
	if w.IntN(4) == 0 {
		return fmt.Sprintf("ext%d", w.IntN(2*maxOthers))
	}
	return w.pick("type", "subject", "source", "tandemcause")
}

func (w world) value() string { return w.pick("a", "ab", "abc", "b", "ba", "c") }

func (w world) filter(depth int) string {
	switch n := w.IntN(10); {
	case depth > 0 && n < 4:
		parts := make([]string, 1+w.IntN(3))
		for i := range parts {
			parts[i] = w.filter(depth - 1)
		}
		return fmt.Sprintf(`{"%s":[%s]}`, w.pick("all", "any"), strings.Join(parts, ","))
	case depth > 0 && n == 4:
		return `{"not":` + w.filter(depth-1) + `}`
	case n == 5:
		return fmt.Sprintf(`{"sql":"%s %s,%s"}`, w.attribute(), w.pick("", w.value()), w.value())
	}
	return fmt.Sprintf(`{"%s":{"%s":"%s"}}`, w.pick("exact", "prefix", "suffix"), w.attribute(), w.value())
}

func (w world) event() *tandem.Event {
	e := &tandem.Event{ID: "1", Source: w.value(), Type: w.value(), Subject: w.pick("", w.value())}
	for range w.IntN(3) {
		e.Extensions = append(e.Extensions, tandem.Extension{Name: fmt.Sprintf("ext%d", w.IntN(2*maxOthers)), Value: w.value()})
	}
	for range w.IntN(3) {
		e.Meta.Causes = append(e.Meta.Causes, w.value())
	}
	return e
}

// TestFindsWhatMatches: whatever was added and removed, an event finds what a list of all filters finds, once each, and nothing that is gone.
func TestFindsWhatMatches(t *testing.T) {
	type one struct {
		text   string
		filter tandem.Filter
		entry  *Entry[*one]
	}
	w := world{rand.New(rand.NewPCG(3, 4))}
	candidates, compared := 0, 0
	for range 60 {
		var ix Index[*one]
		var all []*one
		for range 300 {
			if w.IntN(len(all)+20) < 20 {
				text := w.filter(2)
				f, err := parse(t, text).Bind(compile)
				if err != nil {
					t.Fatal(err)
				}
				x := &one{text: text, filter: f}
				x.entry = ix.Add(f, x)
				all = append(all, x)
			} else {
				i := w.IntN(len(all))
				ix.Remove(all[i].entry)
				ix.Remove(all[i].entry)
				all = slices.Delete(all, i, i+1)
			}
			e := w.event()
			found := map[*one]int{}
			ix.Candidates(e, func(x *one) { found[x]++ })
			for _, x := range all {
				if n := found[x]; n > 1 || n == 0 && x.filter.Match(e) {
					t.Fatalf("%s is found %d times for %+v", x.text, n, e)
				}
				candidates += found[x]
				delete(found, x)
			}
			for x := range found {
				t.Fatalf("%s was removed and is found for %+v", x.text, e)
			}
			compared += len(all)
		}
		for _, x := range all {
			ix.Remove(x.entry)
		}
		if len(ix.exact)+len(ix.prefix)+ix.others+len(ix.rest.slots) > 0 {
			t.Fatalf("an index without entries keeps %+v", ix)
		}
	}
	if candidates*3 > compared*2 {
		t.Errorf("%d candidates of %d", candidates, compared)
	}
}

// TestFindsFew: a filter is found by what tells it apart best, in whatever order filters come, also when others made place.
func TestFindsFew(t *testing.T) {
	for _, text := range []string{
		`{"subject":"%d"}`,
		`{"type":"a","subject":"%d"}`,
		`{"source":"/s","type":"a","tenant":"%d"}`,
		`{"type":"a","prefix":{"subject":"%d/"}}`,
		`{"source":"/%d","prefix":{"type":"a"}}`,
	} {
		var ix Index[int]
		var gone []*Entry[int]
		for i := range 200 {
			gone = append(gone, ix.Add(parse(t, fmt.Sprintf(text, i%10)), i))
			ix.Add(parse(t, fmt.Sprintf(text, i+100)), i)
		}
		for _, e := range gone {
			ix.Remove(e)
		}
		found := 0
		ix.Candidates(&tandem.Event{Source: "/s", Type: "a", Subject: "150/", Extensions: []tandem.Extension{{Name: "tenant", Value: "150"}}}, func(int) { found++ })
		if found > 3 {
			t.Errorf("%s: %d candidates of 200", text, found)
		}
	}
}

// TestOthersMakeNoRoomScarce: however many attributes are looked at, an event pays for few, and what most look at stays indexed.
func TestOthersMakeNoRoomScarce(t *testing.T) {
	var ix Index[int]
	var all []*Entry[int]
	for i := range 3 * maxOthers {
		all = append(all, ix.Add(parse(t, fmt.Sprintf(`{"ext%d":"v"}`, i)), i))
	}
	for i := range 100 {
		ix.Add(parse(t, fmt.Sprintf(`{"subject":"%d"}`, i)), i)
		ix.Add(parse(t, fmt.Sprintf(`{"tenant":"x","prefix":{"type":"%d"}}`, i)), i)
	}
	if n := len(ix.exact) + len(ix.prefix); n != maxOthers+2 {
		t.Errorf("%d attributes are indexed", n)
	}
	if n := len(ix.rest.slots); n != 2*maxOthers {
		t.Errorf("%d filters are not indexed", n)
	}
	for _, e := range all {
		ix.Remove(e)
	}
	ix.Add(parse(t, `{"tenant":"x"}`), 0)
	if n := len(ix.rest.slots); n != 0 {
		t.Errorf("%d filters are not indexed when there is room again", n)
	}
}

// TestRemoveGivesRoomBack: of many entries that are found together the right ones go, and their room with them.
func TestRemoveGivesRoomBack(t *testing.T) {
	const n = 50_000
	var ix Index[int]
	f := parse(t, `{"any":[{"subject":"a"},{"subject":"b"}]}`)
	entries := make([]*Entry[int], n)
	for i := range entries {
		entries[i] = ix.Add(f, i)
	}
	a := ix.exact[0].by["a"]
	for i, e := range entries[:n-1] {
		ix.Remove(e)
		if i%1000 == 0 && (len(a.slots) != n-1-i || cap(a.slots) > 4*max(len(a.slots), keptSlots)) {
			t.Fatalf("%d of room for %d after %d removals", cap(a.slots), len(a.slots), i+1)
		}
	}
	for _, v := range []string{"a", "b"} {
		var found []int
		ix.Candidates(&tandem.Event{Subject: v}, func(i int) { found = append(found, i) })
		if !slices.Equal(found, []int{n - 1}) {
			t.Fatalf("%v is found for %s", found, v)
		}
	}
}

// TestCandidatesDoNotAllocate holds for what is indexed and for what is not.
func TestCandidatesDoNotAllocate(t *testing.T) {
	var ix Index[int]
	for i := range 100 {
		ix.Add(parse(t, fmt.Sprintf(`{"subject":"%d"}`, i%10)), i)
		ix.Add(parse(t, fmt.Sprintf(`{"prefix":{"type":"%d"}}`, i%10)), i)
		ix.Add(parse(t, `{"suffix":{"type":"1"}}`), i)
	}
	e, found := &tandem.Event{Type: "11", Subject: "1"}, 0
	if n := testing.AllocsPerRun(100, func() { ix.Candidates(e, func(int) { found++ }) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if found != 101*(10+10+100) {
		t.Errorf("%d found", found)
	}
}

// BenchmarkIndex is an event among 10,000 filters {subject: N}, that one of them wants or none, and a filter that comes and goes.
func BenchmarkIndex(b *testing.B) {
	var ix Index[int]
	for i := range 10_000 {
		ix.Add(parse(b, fmt.Sprintf(`{"subject":"%d"}`, i)), i)
	}
	for name, subject := range map[string]string{"one": "5000", "none": "x"} {
		b.Run(name, func(b *testing.B) {
			e, found := &tandem.Event{ID: "1", Source: "/s", Type: "a", Subject: subject}, 0
			b.ReportAllocs()
			for b.Loop() {
				ix.Candidates(e, func(int) { found++ })
			}
		})
	}
	for name, others := range map[string]int{"add-remove": 0, "add-remove-among-50000": 50_000} {
		b.Run(name, func(b *testing.B) {
			var ix Index[int]
			f := parse(b, `{"subject":"77"}`)
			first := ix.Add(f, 0)
			for range others {
				ix.Add(f, 0)
			}
			b.ReportAllocs()
			for b.Loop() {
				ix.Remove(first)
				first = ix.Add(f, 0)
			}
		})
	}
}
