package natslog

import (
	"context"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/stateindex"
)

// processKey is the record of the process that has the log.
const processKey = string(kindOurs) + "process"

// replay brings the stream into the index, up to and including a sequence.
func (s *state) replay(ctx context.Context, last uint64) error {
	for tries := 0; s.next <= last; {
		read, err := s.replaySome(ctx, last)
		switch {
		case err != nil:
			return err
		case read > 0:
			tries = 0
			continue
		}
		// The server that answered is behind, or the last message was the note of a deletion, and its time is out.
		if tries++; s.replicas == 1 || tries > 50 {
			return s.apply(last+1, nil)
		}
		if !s.e.pause(20*time.Millisecond, time.Now().Add(time.Second)) {
			return errClosed()
		}
	}
	return nil
}

// replaySome applies a batch of messages and returns how many there were.
func (s *state) replaySome(ctx context.Context, last uint64) (int, error) {
	var ops []stateindex.Op
	n, next := 0, s.next
	failed := s.e.readOn(ctx, s.stream, s.next, last+1, getBatch, 8<<20, func(m *stored) error {
		n++
		next = m.seq + 1
		s.message(m, &ops)
		return nil
	})
	if n == 0 {
		return 0, failed
	}
	place := next
	if s.held > 0 {
		place = s.held
	}
	if err := s.apply(place, ops); err != nil {
		return n, err
	}
	s.next = next
	return n, failed
}

// message takes one message of the stream. What is none of Tandem's is left out.
func (s *state) message(m *stored, ops *[]stateindex.Op) {
	if id := headerOf(m.header, headerCommit1); id != "" {
		s.seen = id
	}
	key, ok := s.e.names.parseStateSubject(m.subject)
	if !ok {
		return
	}
	deleted := headerOf(m.header, headerDeleted) != ""
	if key[0] == kindPart {
		if !deleted {
			if len(s.parts) == 0 {
				s.parts, s.held = map[string][]byte{}, m.seq
			}
			s.parts[key] = m.data
		}
		return
	}
	defer func() { s.parts, s.held = nil, 0 }()
	if key == processKey {
		s.otherProcess(string(m.data))
	}
	if deleted {
		*ops = append(*ops, stateindex.Op{Key: key})
		return
	}
	value := m.data
	parts, _ := strconv.Atoi(headerOf(m.header, headerParts))
	if parts > 0 {
		value = nil
		for i := range parts {
			piece, ok := s.parts[partKey(key, i)]
			if !ok {
				return // it was replaced: the newer one follows
			}
			value = append(value, piece...)
		}
		value = append(value, m.data...)
	}
	*ops = append(*ops, stateindex.Op{Key: key, Value: withParts(max(parts, 0), value), Rev: m.seq})
}

// otherProcess notices that another process has the log now.
func (s *state) otherProcess(session string) {
	if !s.own.Load() || session == s.e.session {
		return
	}
	err := tandem.Errorf(tandem.CodeUnavailable, "another process has opened the log %q on NATS at %s and has it now", s.e.opts.Prefix, s.e.where()).
		WithHint("one process at a time writes to a log: stop one of them, or give them different prefixes")
	s.e.health.takenOver(err)
	s.e.log.Error("the log was taken over", "error", err)
}

// open fills the index and takes the log over.
func (s *state) open(info *jetstream.StreamInfo) error {
	var err error
	if s.next, err = s.index.Next(); err != nil {
		return err
	}
	if stale, err := s.isStale(info); err != nil {
		return err
	} else if stale {
		if err := s.clear(); err != nil {
			return err
		}
	}
	s.next, s.replicas = max(s.next, 1), max(1, info.Config.Replicas)
	return s.replay(s.e.ctx, info.State.LastSeq)
}

// isStale reports whether the index may have missed deletions, or goes further than the stream.
func (s *state) isStale(info *jetstream.StreamInfo) (bool, error) {
	if s.next == 0 {
		return false, nil
	}
	v, _, ok, err := s.index.Get(markKey)
	if err != nil || !ok || len(v) != 8 {
		return true, err
	}
	age := time.Since(time.Unix(int64(binary.BigEndian.Uint64(v)), 0))
	return age > s.e.opts.DeletedAge/2 || age < -s.e.opts.DeletedAge/2 || s.next > info.State.LastSeq+1, nil
}

// clear empties the index.
func (s *state) clear() error {
	s.next = 0
	for {
		var ops []stateindex.Op
		if err := s.index.Scan("", "", func(k string, _ []byte, _ uint64) bool {
			ops = append(ops, stateindex.Op{Key: k})
			return len(ops) < 10_000
		}); err != nil {
			return err
		}
		if len(ops) == 0 {
			return nil
		}
		if err := s.index.Apply(0, ops); err != nil {
			return err
		}
	}
}
