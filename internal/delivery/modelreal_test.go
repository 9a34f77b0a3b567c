package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/kafkalog"
	"github.com/tandem-hybrid/tandem/eventlog/natslog"
)

const (
	realPace     = 20               // what lasts so long in the model's own time lasts this part of it in real time
	realLate     = time.Second      // how long after its time something may happen, and how long a commit may take
	realPatience = 20 * time.Second // what a busy machine is given
	realSeeds    = 50
	realWorkers  = 16
)

// TestModelOnEngine runs the model in real time on the engine that TANDEM_MODEL_ENGINE names: kafka://HOST:PORT or nats://HOST:PORT. TANDEM_SEEDS=N
// runs so many seeds, TANDEM_SEED=N that one. test/engines runs it on all kinds of servers.
func TestModelOnEngine(t *testing.T) {
	where, err := url.Parse(os.Getenv("TANDEM_MODEL_ENGINE"))
	if err != nil || where.Host == "" {
		t.Skip("needs an engine: TANDEM_MODEL_ENGINE=kafka://HOST:PORT or nats://HOST:PORT, see test/engines")
	}
	seeds, first := realSeeds, 1
	if n, err := strconv.Atoi(os.Getenv("TANDEM_SEEDS")); err == nil {
		seeds = n
	}
	if one, err := strconv.Atoi(os.Getenv("TANDEM_SEED")); err == nil {
		seeds, first = 1, one
	}
	run := time.Now().UnixMilli()
	for w := range realWorkers {
		t.Run(fmt.Sprint("worker", w), func(t *testing.T) {
			t.Parallel()
			for seed := first + w; seed < first+seeds && !t.Failed(); seed += realWorkers {
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					b := newRealBed(t, where, fmt.Sprintf("m%x-%d", run, seed))
					newModel(t, b, uint64(seed)).run()
				})
			}
		})
	}
}

// newRealBed is a bed on an engine of its own prefix, which ends with the test.
func newRealBed(t *testing.T, where *url.URL, prefix string) *bed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	var drv driver.Driver
	var err error
	switch where.Scheme {
	case "kafka":
		drv, err = kafkalog.Open(ctx, kafkalog.Options{Brokers: []string{where.Host}, Prefix: prefix + ".", Timeout: realPatience, HoldAtMost: realPatience,
			Logger: logger})
	case "nats":
		drv, err = natslog.Open(ctx, natslog.Options{URL: where.String(), Prefix: prefix, Timeout: realPatience, Logger: logger})
	default:
		t.Fatalf("no engine %q", where.Scheme)
	}
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, real: true}
	b.furnish(drv, logger)
	t.Cleanup(func() {
		if b.m != nil {
			b.stop()
		}
		for _, name := range []string{"orders", "replies"} {
			if err := b.log.DeleteTopic(context.Background(), name); err != nil {
				t.Error(err)
			}
		}
		if err := b.log.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// short is how long something takes that takes d in the model's own time.
func (b *bed) short(d time.Duration) time.Duration {
	if b.real {
		return d / realPace
	}
	return d
}

// lease is how long a lease holds, or an attempt may take, that does so for d in the model's own time: no shorter than a lease may be.
func (b *bed) lease(d time.Duration) time.Duration {
	if b.real {
		return minVisibility
	}
	return d
}

// late is how long after its time something may happen.
func (b *bed) late() time.Duration {
	if b.real {
		return realLate
	}
	return 0
}

// publishEvent stores an event, which over a network may take several times.
func (b *bed) publishEvent(e tandem.Event) {
	for deadline := time.Now().Add(time.Minute); ; {
		_, err := b.log.Append(b.ctx, "orders", []tandem.Event{e})
		if err == nil {
			return
		}
		if !b.real || tandem.CodeOf(err) != tandem.CodeUnavailable || time.Now().After(deadline) {
			b.t.Fatal(err)
		}
	}
}

// healReal waits until nothing is left to do, of the subscription and of its replays, and until all of that is stored. It gives up when nothing
// has ended for two minutes: a subscription that has one lease at a time stores each by itself, which a busy machine takes its time for.
func (m *model) healReal() {
	least, deadline := uint64(math.MaxUint64), time.Now()
	for {
		lag, left := m.unsettled()
		if left == nil {
			m.turn(m.b.stop) // what it has answered it may be storing
			m.ends = append(m.ends, time.Now())
			m.start()
			return
		}
		if lag < least {
			least, deadline = lag, time.Now().Add(2*time.Minute)
		}
		if time.Now().After(deadline) {
			m.t.Fatal(left)
		}
		m.b.wait(time.Second)
	}
}

// unsettled resumes what paused by itself, and says what has something left to do, and how many events in all.
func (m *model) unsettled() (lag uint64, err error) {
	var left []error
	names := []string{"s"}
	for _, r := range m.replays {
		names = append(names, r.name)
	}
	for i, name := range names {
		st := m.b.status(name)
		if i == 0 && st.Lag+uint64(st.InFlight+st.Retrying+st.ParkedKeys+st.Waiting) == 0 || st.State == "ended" {
			continue
		}
		lag += st.Lag
		left = append(left, fmt.Errorf("%s has something left to do: %+v", name, st))
		if err := m.b.m.Resume(m.b.ctx, name); err != nil {
			m.t.Fatal(err)
		}
	}
	return lag, errors.Join(left...)
}
