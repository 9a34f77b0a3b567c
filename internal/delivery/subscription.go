package delivery

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Bounds of what a subscription holds in memory.
const (
	maxHeld      = 1024
	maxHeldBytes = 8 << 20
	// roomAt is how far what is held must fall before a full subscription reads again, so that it reads in batches; see seeRoom.
	roomAt = maxHeld / 2
)

// lastStore is how long Stop may take beyond its context to store what is known.
const lastStore = 2 * time.Second

// subscription is a running subscription. One goroutine commits and keeps time (loop), one reads what the shared readers do
// not bring (feed), and up to Concurrency workers send.
type subscription struct {
	m      *Manager
	name   string
	idle   chan struct{} // closed when nothing is in flight, once drained
	done   chan struct{} // closed by halt: loop and feed end
	over   chan struct{} // closed when another Manager has taken the subscription over
	wake   chan struct{} // for loop
	feedC  chan struct{} // for feed
	group  sync.WaitGroup
	ctx    context.Context // of attempts
	cancel context.CancelFunc

	commitMu sync.Mutex // held over each Commit, so that snapshots are stored in the order in which they were taken
	stuck    *group     // guarded by commitMu: could not be stored; goes first

	mu     sync.Mutex // guards what follows; taken after reader.part.mu
	config config
	fence  driver.Fence
	target targetCache
	amqp   amqpCache

	tracks map[driver.ID]*track
	lanes  map[laneKey]*lane
	ready  readyQueue // heads that may be sent
	begun  fifo       // their start is recorded, their slot in flight is taken
	retry  retryHeap

	draining bool   // nothing more is sent
	halted   bool   // nothing more is committed either
	lost     bool   // another Manager owns the subscription
	damaged  string // why it cannot run: a record cannot be read
	holds    int    // operations that let nothing be read until they are done
	drained  bool   // idle is closed

	workers      int // goroutines that send
	requests     int // of those, with a request under way
	sending      int // deliveries with an attempt under way
	inFlight     int // deliveries with one under way, or about to be
	held         int // deliveries of home log, without outcome
	heldBytes    int
	parked       map[*delivery]struct{} // of home parked
	waiting      int                    // deliveries of home waiting
	redrives     map[string]*delivery   // by id of the dead letter, until their outcome is stored
	moreRedrives bool                   // there may be redrive records that are not in memory
	redrivesFrom string                 // those up to this id are, or have gone
	pace         pace
	copies       tally // dead letters
	parkBytes    int64
	marked       bool // the run record is stored: a crash will be noticed
	careful      int  // first attempts whose start is recorded, since an earlier process may have died of one of them

	endpoint endpoint
	breaker  requestBreaker
	calls    turns // in mode request
	ledger   ledger
	rules    *policy // nil, or of a declaration that may be old: ask policy
	request  uint64  // counts requests
	bucket   bucket
	allowed  float64   // events a second that the endpoint takes; zero means any
	batchAt  time.Time // start of the last request, with batches
	lookAt   time.Time // when loop looks again at what is ready; zero: no need

	apartUntil time.Time // it reads for itself until then, since its filter takes long

	tag     uint64 // of its leases
	birth   int64  // config.Born before all migrations: what marks of events that it took know it by
	nonce   uint64 // of the next lease
	hands   handHeap
	leased  int       // leases that clients hold; each has a slot in flight
	pullers []*puller // that wait, at most maxPullers

	ops         map[string][]byte // state records to be stored with the next group; nil deletes
	dirty       bool              // there is something to commit
	urgent      bool              // at once
	commitAt    time.Time
	uncommitted int      // outcomes that no group has taken yet
	storeFails  bool     // the last group could not be stored: nothing more is sent
	configDirty bool     // the configuration goes with the next group
	answered    []answer // deliveries whose replies go with the next group
	alone       []answer // those that go one by one, since the log refused one of them
	told        news     // to operators
	after       []func() // called with mu held when the next group is stored

	delivered, failures uint64
	counts              attemptCounts
}

func newSubscription(m *Manager, name string, c config) *subscription {
	s := &subscription{
		m: m, name: name, config: c, tag: tagOf(name, c.Born), birth: c.Born - int64(len(c.Moved)), nonce: rand.Uint64(), over: make(chan struct{}), target: newTargetCache(),
		idle: make(chan struct{}), done: make(chan struct{}), wake: make(chan struct{}, 1), feedC: make(chan struct{}, 1),
		tracks: map[driver.ID]*track{}, lanes: map[laneKey]*lane{}, redrives: map[string]*delivery{}, parked: map[*delivery]struct{}{}, ops: map[string][]byte{},
	}
	s.ready.room = s.redriveRoom
	return s
}

// run loads the state and starts the goroutines. After an error it may be called again.
func (s *subscription) run(ctx context.Context) error {
	fence, err := s.m.log.Own(ctx, "delivery/"+s.name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.fence = fence
	s.mu.Unlock()
	if damaged, err := s.loadOrDamage(ctx); damaged || err != nil {
		return err
	}
	s.mu.Lock()
	s.ctx, s.cancel = context.WithCancel(s.m.ctx)
	s.told.state, _ = s.state() // as it was before the restart, or as it is declared
	s.mu.Unlock()
	s.m.follow(s)
	s.m.reindex() // follow does so only for topics that load did not bring
	s.group.Go(s.loop)
	s.group.Go(s.feed)
	s.mu.Lock()
	s.kick()
	s.mu.Unlock()
	return nil
}

// drain lets nothing more be sent. idle is closed when nothing is in flight any more.
func (s *subscription) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	s.detachAll()
	s.giveUpLeases()
	s.wakePullers()
	s.checkDrained()
}

func (s *subscription) checkDrained() {
	if s.draining && !s.drained && s.inFlight == 0 {
		s.drained = true
		close(s.idle)
	}
}

// halt ends the goroutines after the attempts were cancelled, and stores what is known.
func (s *subscription) halt(ctx context.Context) error {
	if !s.started() {
		return nil
	}
	s.cancel()
	// What finished must not be repeated because the time for finishing was out.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastStore)
	defer cancel()
	select {
	case <-s.idle: // soon, since the attempts are cancelled
	case <-s.over:
	case <-ctx.Done(): // but not if the start of one cannot be stored
	}
	s.mu.Lock()
	if s.drained {
		s.put(s.key(keyRun), nil)
	}
	s.markMoved()
	s.mu.Unlock()
	err := s.flushAll(ctx)
	s.mu.Lock()
	s.halted = true
	lost := s.lost
	s.mu.Unlock()
	close(s.done)
	s.group.Wait()
	s.target.close()
	s.amqp.close()
	if lost {
		return nil
	}
	return err
}

// flushAll stores until nothing is left to store.
func (s *subscription) flushAll(ctx context.Context) error {
	for {
		if err := s.flush(ctx); err != nil {
			return err
		}
		s.mu.Lock()
		done := !s.dirty || s.halted
		s.mu.Unlock()
		if done {
			return nil
		}
	}
}

// started reports whether run has been.
func (s *subscription) started() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cancel != nil
}

// abandon ends the goroutines of a deleted subscription without storing anything.
func (s *subscription) abandon() {
	s.mu.Lock()
	s.draining, s.halted = true, true
	s.detachAll()
	s.wakePullers()
	s.checkDrained()
	started := s.cancel != nil
	s.mu.Unlock()
	if !started {
		return
	}
	s.cancel()
	close(s.done)
	s.group.Wait()
	s.target.close()
	s.amqp.close()
}

// paused reports whether the configuration lets nothing be sent.
func (s *subscription) paused() bool {
	return s.config.Paused || s.config.Orphan || s.config.Deleted || s.config.Disabled != "" || s.lost || s.damaged != ""
}

// guarded reports whether the URLs of the declaration came from a stranger.
func (s *subscription) guarded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config.Owner == OwnerAPI && !s.config.Trusted
}

// full reports why nothing more can be read: "" when there is room, "memory", or the cap that is reached.
func (s *subscription) full() string {
	switch o := &s.m.opts; {
	case len(s.parked) >= o.ParkedKeys:
		return "parked keys"
	case s.waiting >= o.WaitingEvents:
		return "waiting events"
	case s.copies.bytes+s.parkBytes >= o.CopyBytes:
		return "bytes of dead letters and parked events"
	case s.held >= maxHeld || s.heldBytes >= maxHeldBytes:
		return inMemory
	}
	return ""
}

const inMemory = "memory"

// reading reports whether events may be taken in.
func (s *subscription) reading() bool {
	return !s.draining && !s.paused() && s.holds == 0 && (!s.endpoint.failing || s.endpoint.wantsMore)
}

// poke wakes the loop.
func (s *subscription) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// pokeFeed wakes the reader of what is behind.
func (s *subscription) pokeFeed() {
	select {
	case s.feedC <- struct{}{}:
	default:
	}
}

func (s *subscription) key(kind string) string { return subPrefix(s.name) + kind }

// put notes a state record for the next group.
func (s *subscription) put(key string, value []byte) {
	s.ops[key] = value
	s.touch()
}

// touch notes that there is something to commit.
func (s *subscription) touch() {
	if !s.dirty {
		s.dirty = true
		s.commitAt = time.Now().Add(groupTime)
		s.poke()
	}
}

// hurry commits at once.
func (s *subscription) hurry() {
	s.touch()
	if !s.urgent {
		s.urgent = true
		s.poke()
	}
}

func (s *subscription) attempts() int { return s.policy().attempts }

func (s *subscription) concurrency() int { return s.policy().concurrency }
