package chain

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

const (
	sweepEvery = 10 * time.Minute
	sweepChunk = 1000
	// recordBytes is what a sweep leaves of records: the oldest beyond it are removed before their day is over.
	recordBytes = 256 << 20
)

// sweep removes records that are too old to count, now and then.
func (c *Chain) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := c.sweepOnce(c.life, recordBytes); err != nil && c.life.Err() == nil {
			c.opts.Logger.Warn("old records of request chains cannot be removed", "error", err)
		}
		select {
		case <-tick.C:
		case <-c.life.Done():
			return
		}
	}
}

// sweepOnce removes records that are older than a day, and of the others the oldest beyond a size.
func (c *Chain) sweepOnce(ctx context.Context, most int) error {
	oldest := time.Now().Add(-recordKept)
	bytes := map[int64]int{} // of the records of one second
	err := c.log.ScanState(ctx, Prefix, func(key string, value []byte) bool {
		if at := sinceOf(value); at.After(oldest) {
			bytes[at.Unix()] += len(key) + len(value)
		}
		return ctx.Err() == nil
	})
	if err != nil {
		return err
	}
	total := 0
	for _, at := range slices.Backward(slices.Sorted(maps.Keys(bytes))) {
		if total += bytes[at]; total > most {
			oldest = time.Unix(at+1, 0)
			break
		}
	}
	return c.removeBefore(ctx, oldest)
}

// sinceOf returns the time of a record; that of one that is damaged is long past.
func sinceOf(value []byte) time.Time {
	var r struct {
		Since time.Time `json:"since"`
	}
	_ = json.Unmarshal(value, &r)
	return r.Since
}

func (c *Chain) removeBefore(ctx context.Context, oldest time.Time) error {
	from := Prefix
	for from != "" && ctx.Err() == nil {
		var tx eventlog.Tx
		start := from
		from = ""
		err := c.log.ScanStateFrom(ctx, Prefix, start, func(key string, value []byte) bool {
			if sinceOf(value).Before(oldest) {
				tx.State = append(tx.State, driver.StateOp{Key: strings.Clone(key)})
			}
			if len(tx.State) < sweepChunk {
				return true
			}
			from = strings.Clone(key) + "\x00"
			return false
		})
		if err == nil && len(tx.State) > 0 {
			_, err = c.log.Commit(ctx, &tx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
