package delivery

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// kindVersion begins the records of versions that the configuration has no room for any more. The ledger judges by them what was stored
// while they held: delivery/s/NAME/version/NUMBER.
const kindVersion = "version/"

// maxOldVersions is how many of them are kept at most. Those that the ledger does not go back to are removed with its segments.
const maxOldVersions = 1000

// oldVersion is the value of a version record.
type oldVersion struct {
	Version int       `json:"v"`
	Until   time.Time `json:"until"` // when the next one was declared
	Held    version   `json:"held"`
}

func (s *subscription) versionKey(number int) string {
	return s.key(kindVersion) + fmt.Sprintf("%08x", number)
}

// keepVersions returns what stores the first n versions of c before they are dropped from it.
func (s *subscription) keepVersions(c *config, n int) []driver.StateOp {
	var ops []driver.StateOp
	for i := range min(n, len(c.Versions)-1) {
		number := c.First + i + 1
		ops = append(ops, driver.StateOp{Key: s.versionKey(number),
			Value: jsonValue(oldVersion{Version: formatVersion, Until: c.Versions[i+1].At, Held: c.Versions[i]})})
		if number > maxOldVersions {
			ops = append(ops, driver.StateOp{Key: s.versionKey(number - maxOldVersions)})
		}
	}
	return ops
}

// sweepVersions removes the versions that ended before the horizon of the ledger.
func (s *subscription) sweepVersions(ctx context.Context, fence driver.Fence, since time.Time) error {
	tx := eventlog.Tx{Fence: &fence}
	err := s.m.log.ScanState(ctx, s.key(kindVersion), func(key string, value []byte) bool {
		var v oldVersion
		if err := parseJSON(value, &v, &v.Version); err != nil || v.Until.After(since) {
			return false // the later ones ended later
		}
		tx.State = append(tx.State, driver.StateOp{Key: strings.Clone(key)})
		return true
	})
	if err != nil || len(tx.State) == 0 {
		return err
	}
	_, err = s.m.log.Commit(ctx, &tx)
	return err
}

// judge is a version of the declaration and its number, from 1.
type judge struct {
	*version
	number int
}

// judges are the versions that are known, oldest first.
type judges []judge

// past keeps, for one query, the versions that the configuration has no room for.
type past struct {
	first int // config.First when they were read
	js    judges
}

// judges returns all versions that are known.
func (p *past) judges(ctx context.Context, s *subscription, c *config) (judges, error) {
	if c.First != p.first {
		js, err := s.oldJudges(ctx, c.First)
		if err != nil {
			return nil, tandem.Wrap("versions of subscription "+s.name, err)
		}
		p.first, p.js = c.First, js
	}
	js := p.js[:len(p.js):len(p.js)]
	for i := range c.Versions {
		js = append(js, judge{&c.Versions[i], c.First + i + 1})
	}
	return js, nil
}

// oldJudges reads the versions up to a number.
func (s *subscription) oldJudges(ctx context.Context, last int) (js judges, err error) {
	prefix := s.key(kindVersion)
	var bad error
	err = s.m.log.ScanState(ctx, prefix, func(key string, value []byte) bool {
		var v oldVersion
		number, err := strconv.ParseUint(key[len(prefix):], 16, 31)
		if err == nil {
			err = parseJSON(value, &v, &v.Version)
		}
		if err != nil {
			bad = damaged(key, err)
			return false
		}
		if int(number) > last {
			return false
		}
		// A condition that cannot be compiled any more matches nothing: events of its time count as skipped.
		if bound, err := v.Held.Declaration.Filter.Bind(s.m.opts.Conditions); err == nil {
			v.Held.Declaration.Filter = bound
		}
		js = append(js, judge{&v.Held, int(number)})
		return true
	})
	if err == nil {
		err = bad
	}
	return js, err
}

// whole reports whether js goes back to the beginning of the subscription.
func (js judges) whole() bool { return js[0].number == 1 }

// of returns the version by which an epoch judges a place; ok is false if the epoch begins after it.
func (js judges) of(epoch uint64, w where) (v judge, ok bool) {
	for i := len(js) - 1; i >= 0; i-- {
		if js[i].Epoch == epoch && w.offset >= js[i].From.at(w.topic, w.part) {
			return js[i], true
		}
	}
	return judge{}, false
}

// epochs returns those of js, newest first.
func (js judges) epochs() []uint64 {
	var out []uint64
	for i := len(js) - 1; i >= 0; i-- {
		if n := len(out); n == 0 || out[n-1] != js[i].Epoch {
			out = append(out, js[i].Epoch)
		}
	}
	return out
}

// selects reports whether a version is for an event. Of an event that is gone only the topic is known.
func (v *judge) selects(topic string, rec *tandem.Record) bool {
	return matchesTopic(&v.Declaration, topic) && (rec == nil || v.Declaration.Filter.Match(&rec.Event))
}
