package interop

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/sql/v2/parser"
	cloudevents "github.com/cloudevents/sdk-go/v2"
)

// TestCESQL: expressions of CloudEvents SQL filter as the SDK for Go evaluates them. They are such as both define: the SDK wraps sums
// beyond 32 bits, counts bytes and ends the process on some texts.
func TestCESQL(t *testing.T) {
	s := start(t, "topics:\n  orders: {}\n")
	const text = `{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","subject":"order-7","priority":5,"rush":true,"sequence":"05","city":"Bern"}`
	var event cloudevents.Event
	if err := event.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if status, _, body := s.call(http.MethodPost, s.url("/v1/topics/orders/events"), text, "Content-Type: application/cloudevents+json"); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	r := rand.New(rand.NewPCG(1, 2))
	matched := 0
	for i := range 400 {
		sql := expression(r, 1+i%4)
		x, err := parser.Parse(sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		v, err := x.Evaluate(event)
		want := false
		switch v := v.(type) {
		case bool:
			want = v
		case int32:
			want = v != 0
		case string:
			want = strings.EqualFold(v, "true")
		}
		want = want && err == nil
		quoted, _ := json.Marshal(sql)
		filter := url.QueryEscape(`{"sql":` + string(quoted) + `}`)
		page := get(t, s.url("/v1/topics/orders/events?from=earliest&filter=%s", filter))
		if got := strings.Contains(page, `"id":"1"`); got != want {
			t.Errorf("%s: %v, the SDK says %v, %v", sql, got, v, err)
		}
		if want {
			matched++
		}
	}
	if matched < 50 {
		t.Errorf("only %d expressions match: that shows little", matched)
	}
}

// expression returns a random one of a depth.
func expression(r *rand.Rand, depth int) string {
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	if depth == 0 {
		return pick("id", "type", "subject", "priority", "rush", "sequence", "city", "missing", "1", "0", "-3", "5", "'5'", "'x'",
			"'order.placed'", "TRUE", "false", "'true'", `"a'b"`, "EXISTS city", "EXISTS nope")
	}
	part := func() string {
		if r.IntN(3) == 0 {
			return expression(r, 0)
		}
		return "(" + expression(r, depth-1) + ")"
	}
	switch r.IntN(11) {
	case 0:
		return part() + " AND " + part() + pick("", " AND "+part())
	case 1:
		return part() + " OR " + part() + pick("", " OR "+part())
	case 2:
		return part() + " XOR " + part()
	case 3:
		return "NOT (" + expression(r, depth-1) + ")"
	case 4:
		return part() + pick(" = ", " != ", " <> ", " < ", " <= ", " > ", " >= ") + part()
	case 5:
		return part() + pick(" + ", " - ", " / ", " % ") + part() + pick("", " = "+part())
	case 6:
		return part() + pick(" LIKE ", " NOT LIKE ") + pick("'%'", "'order%'", "'_rder.%d'", "'5'", `'%\_%'`, "'t%e'", "'%5'")
	case 7:
		return part() + pick(" IN ", " NOT IN ") + "(" + part() + ", " + part() + ")"
	case 8:
		return pick("INT", "BOOL", "STRING", "IS_INT", "IS_BOOL", "ABS", "LENGTH", "LOWER", "UPPER", "TRIM") + "(" + expression(r, depth-1) + ")"
	case 9:
		return pick("LEFT", "RIGHT", "SUBSTRING") + "(" + part() + ", " + part() + ")"
	}
	return "CONCAT_WS(" + part() + ", " + part() + ")"
}
