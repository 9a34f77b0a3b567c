package stream

import (
	"slices"
	"strconv"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// answer is a page that grows while its client waits.
type answer struct {
	tandem.Page
	max  int
	more bool // there is more behind it, whatever comes
}

// add takes what was read next. A gap behind events is left to the next page; one behind another widens it.
func (p *answer) add(r *eventlog.Reader, page tandem.Page) {
	if page.Gap != nil && len(p.Events) > 0 {
		p.more = true
		return
	}
	p.Events, p.Cursor, p.more = append(p.Events, page.Events...), page.Cursor, r.More()
	if page.Gap != nil {
		gap := *page.Gap
		if p.Gap != nil {
			gap.From = p.Gap.From
		}
		p.Gap = &gap
	}
}

// full reports whether nothing can be added to the page any more.
func (p *answer) full() bool { return p.more || len(p.Events) >= p.max }

// pageTags makes the entity tags of what one request may be answered with. They are weak: a page is the same as long as its events are, though
// its cursor may move over events that are not in it. They are made of places in the log, so they cost less than the page and hold over restarts.
type pageTags struct {
	request string // what is asked for: topics in their incarnation, filter, limit, place
	full    string // of a full page behind a cursor, which cannot become another; "" where there may be several
}

func newPageTags(r *eventlog.Reader, sel eventlog.Selection, filter tandem.Filter, q *query, ordered bool) pageTags {
	cursor := q.values.Get("cursor")
	t := pageTags{request: tandem.DerivedID(r.Incarnation(), sel.String(), filter.String(), strconv.Itoa(q.limit), cursor, string(r.Cursor()))}
	if cursor != "" && ordered {
		t.full = t.tag("full")
	}
	return t
}

func (t *pageTags) tag(parts ...string) string {
	return `W/"` + tandem.DerivedID(append(parts, t.request)...) + `"`
}

func (t *pageTags) of(p *answer) string {
	var parts []string
	switch {
	case p.Gap != nil:
		parts = append(parts, p.Gap.Reason, string(p.Gap.From), string(p.Gap.To))
	case p.full() && t.full != "":
		return t.full
	}
	for i := range p.Events {
		parts = append(parts, p.Events[i].Position.String())
	}
	slices.Sort(parts) // the order of partitions among each other may be another the next time
	if p.more {
		parts = append(parts, string(p.Cursor)) // where to go on, also where nothing matched
	}
	return t.tag(parts...)
}
