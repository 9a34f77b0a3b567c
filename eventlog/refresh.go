package eventlog

import (
	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// refresh brings the parts up to date with the topics. A part of a topic that is gone is dropped with what it read ahead. A topic that appeared
// behind a mark, or whose creation has not been told of yet, is left to a later one.
func (r *Reader) refresh(horizon uint64, to *Mark) error {
	version := r.log.topics.version.Load()
	if version == r.version {
		return nil
	}
	topics := r.log.topics.match(r.sel)
	old := make(map[driver.ID][]*part)
	for _, p := range r.parts {
		old[p.topic.ID] = append(old[p.topic.ID], p)
	}
	parts, lives := make([]*part, 0, len(r.parts)), make([]*liveTopic, 0, len(topics))
	for _, t := range topics {
		if known := old[t.ID]; known != nil {
			parts = append(parts, known...)
			lives = append(lives, t.live)
			delete(old, t.ID)
			continue
		}
		if r.log.info.TotalOrder && t.Born >= horizon || to != nil && !to.knows(t) {
			version = r.version
			continue
		}
		if r.started {
			r.appeared(t)
		}
		for i := range t.live.ends {
			parts = append(parts, &part{topic: t, index: i})
		}
		lives = append(lives, t.live)
	}
	for _, gone := range old {
		for _, p := range gone {
			p.forget(r.log)
		}
	}
	r.parts, r.lives, r.version = parts, lives, version
	if r.log.info.TotalOrder {
		return nil
	}
	_, err := encodeVector(r.log.info.LogID, r.places())
	return err
}

// appeared notes a gap if a topic that was not there before replaces one that the reader may not have read to its end.
func (r *Reader) appeared(t *topic) {
	recreated := t.Replaced > r.pos
	if !r.log.info.TotalOrder {
		recreated = r.names[nameHash(t.Name)]
		r.names[nameHash(t.Name)] = true
	}
	if recreated {
		r.lose(tandem.GapRecreated, nil, 0)
	}
}

// lose notes that events were lost, if p is set those from offset was on. Losses that are found before the next page are
// one gap; of two reasons a recreated topic says more.
func (r *Reader) lose(reason string, p *part, was uint64) {
	if r.gap != nil {
		if r.gap.Reason == tandem.GapRetention {
			r.gap.Reason = reason
		}
		return
	}
	r.gap = &tandem.Gap{Reason: reason}
	if p == nil {
		r.gap.From = r.Cursor()
		return
	}
	held := *p
	p.buf, p.next = nil, was
	r.gap.From = r.Cursor()
	*p = held
}
