package console

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

const (
	rowsPerPage   = 50
	eventsPerPage = 25
)

type topicRow struct {
	client.Topic
	Rate float64 // events stored a second, -1 when it is not known yet
}

// topicRow asks for what a topic holds. One that is deleted meanwhile stays without a status.
func (v *visit) topicRow(t client.Topic) (topicRow, error) {
	full, err := v.api.Topic(v.r.Context(), t.Name)
	if tandem.CodeOf(err) == tandem.CodeNotFound {
		return topicRow{t, -1}, nil
	}
	if err != nil || full.Status == nil {
		return topicRow{full, -1}, err
	}
	var stored uint64
	for _, p := range full.Status.Partitions {
		stored += p.Stored
	}
	return topicRow{full, v.console.rates.of("topic "+t.Name, stored, time.Now())}, nil
}

// list is a page of a list, with what it was looked for.
type list[T any] struct {
	Find   string
	Sort   string
	Rows   []T
	Total  int // that match
	Before string
	Next   string
}

// paged cuts out a page of those whose names contain find=: the one that begins with the name from=.
func paged[T any](v *visit, all []T, name func(*T) string) list[T] {
	q := v.r.URL.Query()
	l := list[T]{Find: q.Get("find"), Sort: q.Get("sort")}
	find := strings.ToLower(l.Find)
	all = slices.DeleteFunc(all, func(t T) bool { return !strings.Contains(strings.ToLower(name(&t)), find) })
	l.Total = len(all)
	from := 0
	if at := q.Get("from"); at != "" {
		if i := slices.IndexFunc(all, func(t T) bool { return name(&t) == at }); i > 0 {
			from = i
		}
	}
	end := min(from+rowsPerPage, len(all))
	l.Rows = all[from:end]
	if end < len(all) {
		l.Next = v.r.URL.Path + query("find", l.Find, "sort", l.Sort, "from", name(&all[end]))
	}
	if from > 0 {
		l.Before = v.r.URL.Path + query("find", l.Find, "sort", l.Sort, "from", name(&all[max(from-rowsPerPage, 0)]))
	}
	return l
}

func (v *visit) topics() error {
	all, err := v.api.Topics(v.r.Context())
	if err != nil {
		return err
	}
	rows := make([]topicRow, len(all))
	for i := range all {
		rows[i] = topicRow{all[i], -1}
	}
	l := paged(v, rows, func(t *topicRow) string { return t.Name })
	for i := range l.Rows {
		if l.Rows[i], err = v.topicRow(l.Rows[i].Topic); err != nil {
			return err
		}
	}
	v.show(http.StatusOK, "topics", "Topics", &l)
	return nil
}

// topicPage is one topic: what it holds, who reads it, and its events.
type topicPage struct {
	topicRow
	Readers []subscriptionRow
	Ask     eventsAsk
	Events  []eventRow
	Gap     *tandem.Gap
	Next    string // address of the events that follow
	Skipped bool   // no event matched among those that were looked at, and there are more
	Tail    string // address of the live tail
	Problem *tandem.Problem
}

// eventsAsk is which events are shown.
type eventsAsk struct{ From, Type, Subject, Filter, Cursor string }

type eventRow struct {
	tandem.Event
	Href    string
	Flow    string // where its flow is shown
	Line    string // the beginning of its data
	Payload payload
}

func (v *visit) topic() error {
	name := v.r.PathValue("topic")
	t, err := v.api.Topic(v.r.Context(), name)
	if err != nil {
		return err
	}
	p := topicPage{}
	if p.topicRow, err = v.topicRow(t); err != nil {
		return err
	}
	subs, err := v.subscriptionRows()
	if err != nil {
		return err
	}
	p.Readers = slices.DeleteFunc(subs, func(s subscriptionRow) bool { return !reads(s.Topics, name) })
	q := v.r.URL.Query()
	p.Ask = eventsAsk{q.Get("from"), q.Get("type"), q.Get("subject"), q.Get("filter"), q.Get("cursor")}
	p.Tail = v.r.URL.EscapedPath() + "/tail" + query("type", p.Ask.Type, "subject", p.Ask.Subject, "filter", p.Ask.Filter)
	if err := v.readEvents(name, &p); err != nil {
		p.Problem = tandem.ProblemOf(err)
	}
	v.show(http.StatusOK, "topic", name, &p)
	return nil
}

// filter is the filter that a form asks for. The API compiles it.
func (a *eventsAsk) filter() (tandem.Filter, error) {
	var all []tandem.Filter
	for _, x := range []struct{ name, value string }{{"type", a.Type}, {"subject", a.Subject}} {
		if x.value != "" {
			f, err := tandem.FilterOf(map[string]any{"exact": map[string]any{x.name: x.value}})
			if err != nil {
				return f, err
			}
			all = append(all, f)
		}
	}
	if a.Filter != "" {
		f, err := tandem.ParseFilter([]byte(a.Filter))
		if err != nil {
			return f, err
		}
		all = append(all, f)
	}
	return tandem.AllOf(all...)
}

// readEvents reads a page of events: the newest, unless the form says where to begin.
func (v *visit) readEvents(topic string, p *topicPage) error {
	filter, err := p.Ask.filter()
	if err != nil {
		return err
	}
	q := client.Query{Topics: []string{topic}, Filter: filter, Limit: eventsPerPage}
	newest := p.Ask.Cursor == "" && (p.Ask.From == "" || p.Ask.From == "newest")
	switch {
	case newest:
		q.Last = eventsPerPage
	case p.Ask.Cursor != "":
		q.Start.Cursor = tandem.Cursor(p.Ask.Cursor)
	default:
		if q.Start, err = tandem.ParseStart(p.Ask.From); err != nil {
			return err
		}
	}
	page, err := v.api.Read(v.r.Context(), q)
	if err != nil {
		return err
	}
	p.Gap = page.Gap
	for i := range page.Events {
		e := page.Events[i].Event
		row := eventRow{e, eventHref(topic, &e, p.Ask.Cursor), flowOfEvent(topic, &e), "", payloadOf(&e, excerptBytes)}
		if row.Payload.Kind != "binary" {
			text, _ := head(e.Data, 800)
			row.Line = clean(text, 200)
		}
		p.Events = append(p.Events, row)
	}
	if newest {
		slices.Reverse(p.Events)
		return nil
	}
	if string(page.Cursor) != p.Ask.Cursor {
		p.Next = v.r.URL.Path + query("type", p.Ask.Type, "subject", p.Ask.Subject, "filter", p.Ask.Filter, "cursor", page.Cursor)
		p.Skipped = len(p.Events) == 0
	}
	return nil
}
