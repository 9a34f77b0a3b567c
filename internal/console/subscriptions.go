package console

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

type subscriptionRow struct {
	client.Subscription
	Rate   float64 // events delivered a second, -1 when it is not known yet
	Target string
}

// subscriptionRows returns all subscriptions by name.
func (v *visit) subscriptionRows() ([]subscriptionRow, error) {
	all, err := v.api.Subscriptions(v.r.Context())
	rows := make([]subscriptionRow, len(all))
	for i := range all {
		rows[i] = v.subscriptionRow(all[i])
	}
	return rows, err
}

func (v *visit) subscriptionRow(s client.Subscription) subscriptionRow {
	if s.Status == nil {
		s.Status = &tandem.SubscriptionStatus{Name: s.Name}
	}
	s.Mode = cmp.Or(s.Mode, tandem.DeliverEvent)
	v.console.lags.note(s.Name, s.Status.Lag, time.Now())
	return subscriptionRow{s, v.console.rates.of("subscription "+s.Name, s.Status.Delivered, time.Now()), targetOf(&s.Subscription)}
}

// targetOf says where deliveries go, without what might be a secret in an address.
func targetOf(s *tandem.Subscription) string {
	switch {
	case s.Service != "":
		return s.Service + s.Path
	case s.Pull != nil:
		return "pulled by clients"
	case s.AMQP != nil && s.AMQP.Queue != "":
		return "RabbitMQ queue " + s.AMQP.Queue
	case s.AMQP != nil:
		return "RabbitMQ exchange " + s.AMQP.Exchange
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return "a URL"
	}
	return u.Host + u.EscapedPath()
}

func (v *visit) subscriptions() error {
	rows, err := v.subscriptionRows()
	if err != nil {
		return err
	}
	switch v.r.URL.Query().Get("sort") {
	case "lag":
		slices.SortStableFunc(rows, func(a, b subscriptionRow) int { return cmp.Compare(b.Status.Lag, a.Status.Lag) })
	case "state":
		slices.SortStableFunc(rows, func(a, b subscriptionRow) int { return trouble(&b) - trouble(&a) })
	}
	l := paged(v, rows, func(s *subscriptionRow) string { return s.Name })
	v.show(http.StatusOK, "subscriptions", "Subscriptions", &l)
	return nil
}

// subscriptionPage is one subscription, and what becomes of its events.
type subscriptionPage struct {
	subscriptionRow
	Lags    *sparkline // nil: there was no lag
	Ask     tandem.DeliveryQuery
	States  []string
	Ledger  []tandem.Delivery
	Next    string
	Problem *tandem.Problem // of the ledger
}

// shownStates are those that a form offers.
var shownStates = []string{tandem.DeliveryRetrying, tandem.DeliveryWaiting, tandem.DeliverySending, tandem.DeliveryQueued, tandem.DeliveryDead,
	tandem.DeliveryDelivered, tandem.DeliveryExpired, tandem.DeliveryDiscarded, tandem.DeliveryFailed}

func (v *visit) subscription() error {
	name := v.r.PathValue("name")
	s, err := v.api.Subscription(v.r.Context(), name)
	if err != nil {
		return err
	}
	q := v.r.URL.Query()
	p := subscriptionPage{subscriptionRow: v.subscriptionRow(s), States: shownStates,
		Ask: tandem.DeliveryQuery{State: q.Get("state"), Key: q.Get("key"), ID: q.Get("event"), Flow: q.Get("flow"), After: q.Get("after"), Limit: eventsPerPage}}
	p.Lags = v.console.lags.of(name)
	page, err := v.api.Deliveries(v.r.Context(), name, p.Ask)
	if err != nil {
		p.Problem = tandem.ProblemOf(err)
	}
	p.Ledger = page.Deliveries
	if page.Next != "" {
		p.Next = v.r.URL.Path + query("state", p.Ask.State, "key", p.Ask.Key, "event", p.Ask.ID, "flow", p.Ask.Flow, "after", page.Next) + "#deliveries"
	}
	v.show(http.StatusOK, "subscription", name, &p)
	return nil
}

func (v *visit) pause() error {
	return v.command("pause", func(name string) error { _, err := v.api.Pause(v.r.Context(), name); return err })
}

func (v *visit) resume() error {
	return v.command("resume", func(name string) error { _, err := v.api.Resume(v.r.Context(), name); return err })
}

// command does what needs no question, since it can be taken back.
func (v *visit) command(action string, do func(name string) error) error {
	name := v.r.PathValue("name")
	err := do(name)
	if v.acted(action, name, err); err != nil {
		return err
	}
	v.see("/subscriptions/"+url.PathEscape(name), url.Values{"did": {action}})
	return nil
}

// seekPage asks before a seek, with what it would do.
type seekPage struct {
	Name, To string
	Plan     tandem.SeekPlan
}

func (v *visit) seek() error {
	name, to := v.r.PathValue("name"), v.r.PostForm.Get("to")
	if to == "time" {
		to = v.r.PostForm.Get("time")
	}
	start, err := tandem.ParseStart(to)
	if to == "" || err != nil {
		return tandem.Errorf(tandem.CodeInvalid, "%q is no place to go on from", clean(to, 60)).WithHint("write earliest, latest or a time in UTC such as 2026-01-31T09:30:00Z")
	}
	dry := v.r.PostForm.Get("sure") == ""
	plan, err := v.api.Seek(v.r.Context(), name, start, dry)
	if !dry {
		v.acted("seek", name, err, "to", to, "again", plan.Again, "over", plan.Over)
	}
	switch {
	case err != nil:
		return err
	case dry:
		v.show(http.StatusOK, "seek", "Move "+name+"?", &seekPage{name, to, plan})
	default:
		v.see("/subscriptions/"+url.PathEscape(name), url.Values{"did": {"seek"}})
	}
	return nil
}

// testedPage is what a test sent and what came back.
type testedPage struct {
	Name     string
	Exchange tandem.TestExchange
}

func (v *visit) test() error {
	name := v.r.PathValue("name")
	exchange, err := v.api.Test(v.r.Context(), name)
	if v.acted("test", name, err, "outcome", exchange.Outcome); err != nil {
		return err
	}
	exchange.Sent.Body = shownBody(exchange.Sent.Body)
	if exchange.Received != nil {
		exchange.Received.Body = shownBody(exchange.Received.Body)
	}
	v.show(http.StatusOK, "tested", "Test of "+name, &testedPage{name, exchange})
	return nil
}

func shownBody(s string) string {
	s, _ = head([]byte(s), wholeBytes)
	return visible(s)
}
