package pebblelog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// recoverWindow fills the window from its files and, beyond them, from the log.
func (e *Engine) recoverWindow() error {
	s := &saved{fs: e.disk.fs, dir: e.opts.FS.PathJoin(e.dir, "ids")}
	e.saved = s
	if err := s.fs.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	if err := syncDir(s.fs, e.dir); err != nil {
		return err
	}
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	since := e.opts.Now().Add(-e.window.keep).Unix()
	for _, name := range names {
		var n int
		if _, err := fmt.Sscanf(name, "%d"+savedSuffix, &n); err != nil || !strings.HasSuffix(name, savedSuffix) {
			continue
		}
		s.next = max(s.next, n+1)
		path := s.fs.PathJoin(s.dir, name)
		if err := e.loadSaved(path, since); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		s.files = append(s.files, savedFile{name: path, to: s.upTo})
	}
	s.pos = e.window.head
	if s.upTo > e.next {
		s.upTo = e.next
	}
	return e.rebuildWindow(since)
}

// loadSaved adds the blocks of a file that follow on what was loaded before. It stops at the first that does not.
func (e *Engine) loadSaved(path string, since int64) error {
	f, err := e.saved.fs.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	// The first file may follow on others that were trimmed.
	loaded := len(e.saved.files) > 0
	for {
		from, to, entries, rest, ok := parseBlock(b)
		if !ok || loaded && from != e.saved.upTo {
			if len(b) > 0 {
				e.opts.Logger.Info("window of ids: the rest of a file is not used", "file", path, "bytes", len(b))
			}
			return nil
		}
		for ; len(entries) > 0; entries = entries[entryBytes:] {
			if f := parseFingerprint(entries); int64(f.at) >= since {
				e.window.add(f)
			}
		}
		e.saved.upTo, b, loaded = to, rest, true
	}
}

// parseBlock splits the first block off b.
func parseBlock(b []byte) (from, to uint64, entries, rest []byte, ok bool) {
	if len(b) < blockHeaderLen {
		return 0, 0, nil, b, false
	}
	n := int64(binary.LittleEndian.Uint32(b[4:])) * entryBytes
	if n > int64(len(b)-blockHeaderLen) {
		return 0, 0, nil, b, false
	}
	end := blockHeaderLen + int(n)
	if crc32.Checksum(b[4:end], castagnoli) != binary.LittleEndian.Uint32(b) {
		return 0, 0, nil, b, false
	}
	return binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:]), b[blockHeaderLen:end], b[end:], true
}

// rebuildWindow adds the ids of the events from saved.upTo on.
func (e *Engine) rebuildWindow(since int64) error {
	if e.window.max == 0 {
		e.saved.upTo = e.next
		return nil
	}
	var tail []fingerprint
	for _, s := range e.segments.from(e.saved.upTo) {
		var err error
		if tail, err = e.idsOf(s, e.saved.upTo, since, tail); err != nil {
			return fmt.Errorf("ids of segment %d: %w", s.ID, err)
		}
	}
	slices.SortFunc(tail, func(a, b fingerprint) int { return cmp.Compare(a.offset, b.offset) })
	for _, f := range tail {
		e.window.add(f)
	}
	return nil
}

// idsOf reads the fingerprints of the events of a segment from an offset on.
func (e *Engine) idsOf(s segment, from uint64, since int64, dst []fingerprint) ([]fingerprint, error) {
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: segmentFrom(spaceRuns, s.ID), UpperBound: segmentFrom(spaceRuns, s.ID+1)})
	if err != nil {
		return dst, err
	}
	for ok := it.First(); ok; {
		at, valid := parseRunKey(it.Key())
		if !valid {
			return dst, errors.Join(errRun, it.Close())
		}
		if at.offset < from {
			// Go to the last run that begins before from: it may hold from.
			it.SeekLT(runKey{at.segment, at.slot, at.partition, from}.bytes())
			at, _ = parseRunKey(it.Key())
		}
		if t := e.bySlot[at.slot]; t != nil {
			if dst, err = idsOfRun(t, at, it.Value(), from, since, dst); err != nil {
				return dst, errors.Join(err, it.Close())
			}
		}
		ok = it.Next()
	}
	return dst, errors.Join(it.Error(), it.Close())
}

func idsOfRun(t *topic, at runKey, run []byte, from uint64, since int64, dst []fingerprint) ([]fingerprint, error) {
	it, runHead, err := newRunIter(at.offset, run)
	if err != nil {
		return dst, err
	}
	for it.next() {
		c := cursor{b: it.record}
		h := c.head()
		if c.bad {
			return dst, fmt.Errorf("event at %d: %w", it.offset, errRecord)
		}
		if h.more&recDedup == 0 || it.offset < from {
			continue
		}
		if h.accepted == math.MinInt64 {
			h.accepted = runHead.newest
		}
		if when := time.Unix(0, h.accepted); when.Unix() >= since {
			dst = append(dst, makeFingerprint(identityOf(t.id, h.identity), h.sum, it.offset, it.seq, int(at.partition), when))
		}
	}
	return dst, it.err
}
