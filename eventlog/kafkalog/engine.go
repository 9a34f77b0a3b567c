package kafkalog

import (
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Engine is an open log in a Kafka cluster.
type Engine struct {
	opts Options
	info driver.Info

	client        *kgo.Client // requests, fetches of readers behind, and the producer of single events
	admin         *kadm.Client
	stateProducer *kgo.Client // of the committer
	tx            *kgo.Client // of the committer; nil until needed again

	topics       topicTable
	change       sync.Mutex // held while topics are changed
	settings     settings
	tails        tails
	chunks       chunks
	coldTurns    chan struct{}
	state        state
	committer    committer
	publications *sync.Pool
	patience     atomic.Pointer[chan struct{}]
	stats        stats

	notifyMu sync.Mutex // held while Notify's function is called
	notify   func([]driver.End)
	oneEnd   [1]driver.End

	life     context.Context // ends with Close
	end      context.CancelFunc
	running  sync.WaitGroup
	closing  sync.RWMutex // held for reading by who uses the index
	closed   bool         // guarded by closing
	lookOver chan struct{}
	contact  atomic.Int64 // when the brokers answered last, in nanoseconds
	lost     atomic.Pointer[error]
}

var _ driver.Driver = (*Engine)(nil)

// Open takes over the log in a cluster: it makes the topic of state if there is none, and another process that has the log open can write no
// more. It returns when all state has been read; ctx bounds that. Codes: Invalid (options, a topic of state that is not ours), Unavailable.
func Open(ctx context.Context, opts Options) (*Engine, error) {
	opts.setDefaults()
	if err := opts.check(); err != nil {
		return nil, err
	}
	e := &Engine{opts: opts, coldTurns: make(chan struct{}, coldFetches), lookOver: make(chan struct{}, 1)}
	e.topics.init()
	e.chunks.total, e.chunks.of = max(opts.CacheBytes/2, coldMinCached), map[*partition][]*list.Element{}
	e.tails.total, e.tails.on = max(opts.CacheBytes/2, minTail), map[*partition]struct{}{}
	e.committer.wake = make(chan struct{}, 1)
	e.publications = newPublications(e)
	patience := make(chan struct{})
	e.patience.Store(&patience)
	e.life, e.end = context.WithCancel(context.Background())
	if err := e.start(ctx); err != nil {
		return nil, errors.Join(tandem.Wrap("open the log in Kafka", err), e.Close())
	}
	return e, nil
}

// start does what Open says. What it leaves behind after an error is closed by Close.
func (e *Engine) start(ctx context.Context) (err error) {
	o := &e.opts
	if e.client, err = o.newClient(append(e.producing(), kgo.ProducerLinger(0))...); err != nil {
		return err
	}
	e.admin = kadm.NewClient(e.client)
	if err := e.describe(ctx); err != nil {
		return err
	}
	uuid, err := e.ensureState(ctx)
	if err != nil {
		return err
	}
	if e.stateProducer, err = o.newClient(append(e.producing(), kgo.ManualFlushing())...); err != nil {
		return err
	}
	if e.tails.client, err = o.newClient(consuming(1 << 20)...); err != nil {
		return err
	}
	// A transaction that a killed process left open would hold back who reads the state until the brokers give it up, after ten seconds. A process
	// that has the log yet makes itself another producer of transactions before this one takes the state over, which is why initTx comes again.
	if err := e.initTx(ctx); err != nil {
		return err
	}
	e.closeTx()
	identity := [8]byte(sum(e.info.LogID[:], uuid[:]))
	err = e.openState(ctx, identity)
	if errors.Is(err, errAhead) {
		// The topic lost its end, or another cluster took the place of this one under its id: what the index says is not so.
		o.Logger.Warn("the index of state goes further than its topic, and is made anew", "topic", e.state.topic)
		if o.Dir != "" {
			if err := os.RemoveAll(o.Dir); err != nil {
				return tandem.Errorf(tandem.CodeUnavailable, "remove the index of state: %w", err)
			}
		}
		err = e.openState(ctx, identity)
	}
	if err != nil {
		return err
	}
	if err := e.initTx(ctx); err != nil {
		return err
	}
	if err := e.loadTopics(ctx); err != nil {
		return err
	}
	e.warn(ctx)
	e.contact.Store(time.Now().UnixNano())
	e.running.Go(e.runCommitter)
	e.running.Go(func() { e.keepPatience(e.life) })
	e.running.Go(func() { e.pollTails(e.life) })
	e.running.Go(func() { e.lookAfter(e.life) })
	return nil
}

// openState opens the index, follows the topic of state from there, and takes it over.
func (e *Engine) openState(ctx context.Context, identity [8]byte) error {
	s := &e.state
	s.log, s.stale, s.nonce, s.moved, s.epoch, s.applied = e.opts.Logger, e.repair, newNonce(), make(chan struct{}), 0, 0
	if err := e.openIndex(identity); err != nil {
		return err
	}
	s.startedAt = s.applied
	client, err := e.opts.newClient(append(consuming(32<<20), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.topic: {0: kgo.NewOffset().At(int64(s.applied))}}))...)
	if err != nil {
		return err
	}
	s.client = client
	life, stop := context.WithCancel(e.life)
	ended := make(chan struct{})
	e.running.Go(func() {
		defer close(ended)
		s.run(life)
	})
	if err := e.claim(ctx); err != nil {
		stop()
		<-ended
		client.Close()
		s.client = nil
		err = errors.Join(err, s.index.Close())
		s.index = nil
		return err
	}
	_ = context.AfterFunc(e.life, stop)
	return nil
}

// consuming is what those who follow partitions have in common. Without sessions of fetches, which the client races with itself to end when it
// is closed.
func consuming(partitionBytes int32) []kgo.Opt {
	return []kgo.Opt{kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxPartitionBytes(partitionBytes),
		kgo.FetchMaxBytes(max(16<<20, partitionBytes)), kgo.FetchMaxWait(500 * time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableFetchSessions()}
}

// sum is the front of a hash.
func sum(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write(p)
	}
	return h.Sum(nil)[:8]
}

// Info implements driver.Driver.
func (e *Engine) Info() driver.Info { return e.info }

// open returns err, or that the engine is closed.
func (e *Engine) open(err error) error {
	if e.life.Err() != nil {
		return errClosed()
	}
	return err
}

// writable returns why nothing can be written; a broker that does not answer is found when it is written to.
func (e *Engine) writable() error {
	if err := e.open(nil); err != nil {
		return err
	}
	return e.state.err()
}

// reading keeps the index open; the caller releases closing.
func (e *Engine) reading() error {
	e.closing.RLock()
	if e.closed {
		e.closing.RUnlock()
		return errClosed()
	}
	return nil
}

// Health implements driver.Driver.
func (e *Engine) Health() error {
	if err := e.writable(); err != nil {
		return err
	}
	if e.committer.isStalled() {
		return errLate("commit")
	}
	if err := e.lost.Load(); err != nil {
		return *err
	}
	return nil
}

// Close implements driver.Driver. What waits is refused, what is under way ends or is given up. Repeating it is harmless.
func (e *Engine) Close() error {
	e.committer.close()
	e.end()
	for _, cl := range []*kgo.Client{e.client, e.stateProducer, e.tails.client, e.state.client} {
		if cl != nil {
			cl.Close()
		}
	}
	e.running.Wait()
	e.closing.Lock()
	defer e.closing.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	e.closeTx()
	if e.state.index == nil {
		return nil
	}
	return e.state.index.Close()
}
