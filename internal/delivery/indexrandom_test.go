package delivery

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

// TestIndexFindsWhatMatches: whatever the filter, the index finds it for every event that it matches, once.
func TestIndexFindsWhatMatches(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	attribute := func() string { return pick("type", "subject", "ext", "tandemcause", "tandemhops", "specversion") }
	value := func() string { return pick("a", "ab", "abc", "b", "1", "01", "true", "TRUE", "1.0") }
	var sql, cel func(depth int) string
	combine := func(depth int, of func(int) string, and, or, not string) string {
		switch rnd.IntN(3) {
		case 0:
			return "(" + of(depth-1) + ")" + and + "(" + of(depth-1) + ")"
		case 1:
			return "(" + of(depth-1) + ")" + or + "(" + of(depth-1) + ")"
		}
		return not + "(" + of(depth-1) + ")"
	}
	sql = func(depth int) string {
		if depth > 0 && rnd.IntN(2) == 0 {
			return combine(depth, sql, " AND ", " OR ", "NOT ")
		}
		a := attribute()
		return pick(a+" = '"+value()+"'", a+" IN ('"+value()+"', '"+value()+"')", a+" LIKE '"+value()+"%'", a+" LIKE '"+value()+"'", a+" != '"+value()+"'",
			"'"+value()+"' = "+a, "EXISTS "+a, a+" NOT IN ('"+value()+"')", a+" NOT LIKE 'a%'")
	}
	cel = func(depth int) string {
		if depth > 0 && rnd.IntN(2) == 0 {
			return combine(depth, cel, " && ", " || ", "!")
		}
		a := "event." + attribute()
		return pick(a+" == '"+value()+"'", "'"+value()+"' == "+a, a+" in ['"+value()+"', '"+value()+"']", a+".startsWith('"+value()+"')", a+" != '"+value()+"'", "has("+a+")")
	}
	var plain func(depth int) string
	plain = func(depth int) string {
		switch n := rnd.IntN(9); {
		case n == 0:
			return `{"sql":"` + sql(2) + `"}`
		case n == 1:
			return `{"cel":"` + cel(2) + `"}`
		case depth > 0 && n < 6:
			parts := make([]string, 1+rnd.IntN(3))
			for i := range parts {
				parts[i] = plain(depth - 1)
			}
			return fmt.Sprintf(`{"%s":[%s]}`, pick("all", "any"), strings.Join(parts, ","))
		case depth > 0 && n == 6:
			return `{"not":` + plain(depth-1) + `}`
		}
		return fmt.Sprintf(`{"%s":{"%s":"%s"}}`, pick("exact", "prefix", "suffix"), attribute(), value())
	}
	compile := counting(new(atomic.Int64))
	for range 100 {
		var all []*entry
		var texts []string
		for range 40 {
			text := plain(3)
			texts = append(texts, text)
			all = append(all, &entry{filter: boundFilter(t, compile, text)})
		}
		ix := newIndex(all)
		for range 60 {
			e := tandem.Event{ID: "1", Source: "/s", Type: value(), Subject: pick("", value()), Meta: tandem.Meta{Hops: rnd.IntN(2)}}
			if rnd.IntN(2) == 0 {
				e.Meta.Causes = []string{value(), value()}
			}
			switch rnd.IntN(4) {
			case 0:
				e.Extensions = []tandem.Extension{{Name: "ext", Value: value()}}
			case 1:
				e.Extensions = []tandem.Extension{{Name: "ext", Value: "1", Kind: tandem.ExtensionInteger}}
			case 2:
				e.Extensions = []tandem.Extension{{Name: "ext", Value: "true", Kind: tandem.ExtensionBoolean}}
			}
			found := map[*entry]int{}
			ix.entries.Candidates(&e, func(x *entry) { found[x]++ })
			for i, x := range all {
				if found[x] > 1 || found[x] == 0 && x.filter.Match(&e) {
					t.Fatalf("%s is found %d times for %+v", texts[i], found[x], e)
				}
			}
		}
	}
}
