package eventlog

import (
	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// refresh brings the parts up to date with the topics. A part of a topic that is gone is dropped with what it read ahead.
func (r *Reader) refresh() error {
	version := r.log.topics.version.Load()
	if version == r.version {
		return nil
	}
	topics := r.log.topics.match(r.sel)
	old := make(map[driver.ID][]*part)
	for _, p := range r.parts {
		old[p.topic.ID] = append(old[p.topic.ID], p)
	}
	parts := make([]*part, 0, len(r.parts))
	for _, t := range topics {
		if known := old[t.ID]; known != nil {
			parts = append(parts, known...)
			delete(old, t.ID)
			continue
		}
		if r.started {
			r.appeared(t)
		}
		for i := range t.live.ends {
			parts = append(parts, &part{topic: t, index: i})
		}
	}
	for _, gone := range old {
		for _, p := range gone {
			p.forget(r.log)
		}
	}
	r.parts, r.version = parts, version
	r.lives = r.lives[:0]
	for _, t := range topics {
		r.lives = append(r.lives, t.live)
	}
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
