package natslog

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/stateindex"
)

// Engine is a driver.Driver on NATS JetStream.
type Engine struct {
	opts    Options
	log     *slog.Logger
	names   names
	nc      *nats.Conn
	js      jetstream.JetStream
	info    driver.Info
	session string // of this process, in the names of what it writes

	acks   *acks
	gets   *getters
	runs   runs
	state  *state
	watch  watch
	health health
	cache  cache
	units  atomic.Uint64 // counts atomic batches
	clock  atomic.Int64  // seconds since 1970

	changing sync.Mutex // held while topics change
	lastID   driver.ID  // of a topic, guarded by changing

	table     sync.RWMutex // guards what follows
	byName    map[string]*topic
	byID      map[driver.ID]*topic
	bySubject map[string]*partition

	telling sync.Mutex
	notify  func([]driver.End)

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	closing chan struct{}
	running sync.WaitGroup

	gate   sync.Mutex // guards closed, so that running does not grow after it
	closed bool
}

var _ driver.Driver = (*Engine)(nil)

// Open connects to NATS, makes the stream of state if there is none, reads what it holds and takes the log over: a process that had it before cannot
// write any more. Codes: Invalid (options), Unavailable (no server, no JetStream), Unsupported (a server older than 2.12).
func Open(ctx context.Context, opts Options) (*Engine, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	var id [8]byte
	_, _ = rand.Read(id[:])
	e := &Engine{opts: opts, log: opts.Logger, names: names(opts.Prefix), session: hex.EncodeToString(id[:]) + ".",
		byName: map[string]*topic{}, byID: map[driver.ID]*topic{}, bySubject: map[string]*partition{},
		notify: func([]driver.End) {}, closing: make(chan struct{}), cache: cache{max: opts.CacheBytes}}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.clock.Store(time.Now().Unix())
	e.health.init()
	e.watch.init()
	stop := context.AfterFunc(ctx, e.cancel)
	err = e.open()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = e.Close()
		return nil, tandem.Wrap("open NATS", e.coded(err))
	}
	return e, nil
}

// open does what Open does, in the order in which one thing needs another.
func (e *Engine) open() error {
	if err := e.connect(); err != nil {
		return err
	}
	var err error
	if e.acks, err = newAcks(e.nc); err != nil {
		return err
	}
	e.gets, e.runs.e = newGetters(e.nc, e.opts.Timeout), e
	info, err := e.openStateStream()
	if err != nil {
		return err
	}
	e.describe(info)
	dir := e.opts.Dir
	if dir != "" {
		dir = filepath.Join(dir, "nats-"+e.opts.Prefix)
	}
	index, err := stateindex.Open(dir, e.info.LogID)
	if err != nil {
		return err
	}
	e.state = &state{e: e, stream: e.names.stateStream(), index: index, wake: make(chan struct{}, 1)}
	if err := e.state.open(info); err != nil {
		return err
	}
	if err := e.startWatch(); err != nil {
		return err
	}
	e.spawn(e.state.run)
	if err := e.state.put(e.ctx, processKey, []byte(e.session)); err != nil {
		return err
	}
	e.state.own.Store(true)
	if value, _, _, err := e.state.get(processKey); err != nil || string(value) != e.session { // since that put
		e.state.otherProcess(string(value))
		return errors.Join(err, e.writable())
	}
	return e.loadTopics()
}

func (e *Engine) openStateStream() (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(e.ctx, e.opts.Timeout)
	defer cancel()
	s, err := e.js.Stream(ctx, e.names.stateStream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		var id [8]byte
		_, _ = rand.Read(id[:])
		s, err = e.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: e.names.stateStream(), Subjects: []string{e.names.stateSubjects()}, Description: "Tandem: topics, subscriptions and their progress",
			Metadata: map[string]string{metaLog: hex.EncodeToString(id[:]), metaFormat: format},
			Replicas: e.opts.Replicas, MaxMsgsPerSubject: 1, DenyDelete: true, DenyPurge: true, AllowDirect: true, AllowAtomicPublish: true, AllowMsgTTL: true,
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			s, err = e.js.Stream(ctx, e.names.stateStream())
		}
	}
	if err != nil {
		return nil, err
	}
	info := s.CachedInfo()
	cfg := &info.Config
	switch got := cfg.Metadata[metaFormat]; {
	case got != format:
		return nil, tandem.Errorf(tandem.CodeUnsupported, "the stream %s has the format %q: this version knows %s", cfg.Name, got, format)
	case !cfg.AllowAtomicPublish || !cfg.AllowMsgTTL || !cfg.AllowDirect || cfg.MaxMsgsPerSubject != 1 || cfg.MaxAge > 0 || cfg.MaxMsgs > 0 || cfg.MaxBytes > 0:
		return nil, tandem.Errorf(tandem.CodeInvalid, "the settings of the stream %s were changed so that it cannot hold state", cfg.Name).
			WithHint("allow atomic publish, message TTL and direct get, one message per subject, and no other limit")
	}
	return info, nil
}

// The metadata of the stream of state.
const (
	metaLog    = "tandem-log"
	metaFormat = "tandem-format"
	format     = "1"
)

func (e *Engine) logID() string { return hex.EncodeToString(e.info.LogID[:]) }

// Declared is what Info says of any server.
func Declared() driver.Info {
	return driver.Info{Engine: "nats", Dedup: driver.DedupBoth, Remote: true, Shared: true, Durable: "stored by a majority of the stream's replicas"}
}

// describe fills Info.
func (e *Engine) describe(state *jetstream.StreamInfo) {
	i := Declared()
	i.MaxEventBytes = int(e.nc.MaxPayload()) - eventHeader
	if id, err := hex.DecodeString(state.Config.Metadata[metaLog]); err == nil && len(id) == 8 {
		i.LogID = [8]byte(id)
	}
	replicas := max(1, state.Config.Replicas)
	i.Durable = "stored by 1 NATS server"
	if replicas > 1 {
		i.Durable = fmt.Sprintf("stored by %d of %d NATS servers", replicas/2+1, replicas)
	}
	if e.opts.SyncAlways {
		i.Durable += ", synced to disk"
	} else {
		i.Warnings = append(i.Warnings, "NATS servers sync to disk every two minutes unless sync_interval is \"always\", which cannot be asked: events that were confirmed may be lost with the power (tell Tandem when it is set)")
	}
	if replicas == 1 {
		i.Warnings = append(i.Warnings, "NATS streams have one replica: events are lost with that server's disk, and topics cannot be used while it is down")
	}
	e.info = i
}

// eventHeader is kept for the names of headers, which the size of an event does not count.
const eventHeader = 4096

// loadTopics makes the topics of the records, with the streams that are there, and removes streams that are of none.
func (e *Engine) loadTopics() error {
	infos, err := e.listStreams()
	if err != nil {
		return err
	}
	byName := make(map[string]*jetstream.StreamInfo, len(infos))
	for _, info := range infos {
		byName[info.Config.Name] = info
	}
	var failed error
	var all []*topic
	err = e.state.index.Scan(string(rune(kindTopic)), string(rune(kindTopic+1)), func(key string, v []byte, _ uint64) bool {
		var rec topicRecord
		_, value := splitParts(v)
		if failed = json.Unmarshal(value, &rec); failed != nil {
			failed = fmt.Errorf("the record of topic %s: %w", key[1:], failed)
			return false
		}
		id, err := strconv.ParseUint(rec.ID, 16, 64)
		if err != nil || rec.Spec.Partitions < 1 || rec.Spec.Partitions > tandem.MaxPartitions {
			failed = fmt.Errorf("the record of topic %s is damaged", key[1:])
			return false
		}
		all = append(all, newTopic(e.names, rec.Spec, driver.ID(id)))
		return true
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	for _, t := range all {
		for _, p := range t.parts {
			info := byName[p.stream]
			if info == nil {
				e.log.Error("the stream of a partition is missing", "topic", t.Name, "partition", p.index, "stream", p.stream)
				continue
			}
			delete(byName, p.stream)
			p.observe(&e.cache, info)
			p.told = p.end
			if err := e.applyRetention(e.ctx, t, p, info); err != nil {
				e.log.Warn("the limits of a stream could not be changed", "stream", p.stream, "error", err)
			}
		}
		e.lastID = max(e.lastID, t.ID)
		e.add(t)
	}
	for name, info := range byName {
		if _, _, ok := e.names.parseStream(name); ok && info.Config.Metadata[metaLog] == e.logID() {
			if err := e.js.DeleteStream(e.ctx, name); err != nil {
				e.log.Warn("a stream without a topic could not be removed", "stream", name, "error", err)
			}
		}
	}
	return nil
}

// Info implements driver.Driver.
func (e *Engine) Info() driver.Info { return e.info }

// Notify implements driver.Driver.
func (e *Engine) Notify(fn func(ends []driver.End)) {
	e.telling.Lock()
	defer e.telling.Unlock()
	e.notify = fn
}

// tell calls the function given to Notify if a partition has a new end.
func (e *Engine) tell(p *partition) {
	e.telling.Lock()
	defer e.telling.Unlock()
	if end := p.endNow(); end > p.told {
		p.told = end
		e.notify([]driver.End{{Topic: p.topic, Partition: p.index, End: end}})
	}
}

// spawn runs fn in a goroutine that Close waits for. After Close it does nothing.
func (e *Engine) spawn(fn func()) {
	if e.enter() {
		go func() {
			defer e.leave()
			fn()
		}()
	}
}

// enter has Close wait for leave. After Close it reports false.
func (e *Engine) enter() bool {
	e.gate.Lock()
	defer e.gate.Unlock()
	if e.closed {
		return false
	}
	e.running.Add(1)
	return true
}

func (e *Engine) leave() { e.running.Done() }

func (e *Engine) isClosed() bool {
	select {
	case <-e.closing:
		return true
	default:
		return false
	}
}

// Close implements driver.Driver. Repeating it is harmless. It must not be called by a function given to ScanState.
func (e *Engine) Close() error {
	e.gate.Lock()
	if e.closed {
		e.gate.Unlock()
		return nil
	}
	e.closed = true
	close(e.closing)
	e.gate.Unlock()
	e.cancel()
	if e.acks != nil {
		e.acks.fail()
	}
	if e.nc != nil {
		e.runs.close()
		gone := make(chan struct{})
		e.nc.SetClosedHandler(func(*nats.Conn) { close(gone) })
		e.nc.Close()
		<-gone
	}
	e.running.Wait()
	if e.state != nil {
		return e.state.index.Close()
	}
	return nil
}
