package pebblelog

import (
	"cmp"
	"context"
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
	"github.com/cockroachdb/pebble/v2/vfs"
)

// The window is saved behind the commit, in files of blocks:
//
//	checksum  4 bytes: CRC-32C of the rest
//	count     4 bytes
//	from, to  8 bytes each: the block has every remembered id of events from <= offset < to
//	entries   entryBytes each
//
// All numbers are little-endian. Blocks follow one another without a gap; what is after the last of them is read from the
// log when it is opened. A file that was cut short by a crash is not written again: a new one begins where it was good.
const (
	blockHeaderLen = 4 + 4 + 8 + 8
	blockEntries   = 16 << 10
	savedFileBytes = 8 << 20
	savedSuffix    = ".ids"

	// saveEvery and saveNumbers bound what has to be read from the log after a crash.
	saveEvery   = 5 * time.Second
	saveNumbers = 256 << 10
)

// saved is the window on disk. One goroutine uses it.
type saved struct {
	fs    vfs.FS
	dir   string
	files []savedFile // oldest first; the last may be open
	file  vfs.File    // nil when a new one has to begin
	size  int64
	next  int    // number of the next file
	pos   uint64 // position in the window of the first entry that is not saved
	upTo  uint64 // every id of an event before this offset is saved or forgotten
}

type savedFile struct {
	name string
	to   uint64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// save keeps the window on disk until ctx is done, and then once more.
func (e *Engine) save(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case <-ctx.Done():
			// The finisher has ended, so nothing becomes durable after this.
			<-e.finished
			done = true
		case <-e.failure.done:
			return
		case <-tick.C:
		case <-e.saveNow:
		}
		if err := e.saveWindow(); err != nil {
			e.opts.Logger.Warn("saving the window of ids will be tried again", "error", err)
		}
	}
	if f := e.saved.file; f != nil {
		if err := f.Close(); err != nil {
			e.opts.Logger.Warn("closing the window of ids", "error", err)
		}
	}
}

// saveSoon asks for a save when much has become durable since the last one.
func (e *Engine) saveSoon(next uint64) {
	if next-e.saveAsked < saveNumbers {
		return
	}
	e.saveAsked = next
	select {
	case e.saveNow <- struct{}{}:
	default:
	}
}

// saveWindow writes what is durable and not saved.
func (e *Engine) saveWindow() error {
	s := e.saved
	for {
		to := e.synced.Load()
		block, pos, all := e.window.unsaved(s.pos, s.upTo, to)
		if all && to == s.upTo {
			return nil
		}
		if !all {
			to = binary.LittleEndian.Uint64(block[len(block)-16:]) + 1
			binary.LittleEndian.PutUint64(block[16:], to)
		}
		binary.LittleEndian.PutUint32(block, crc32.Checksum(block[4:], castagnoli))
		if err := s.write(block); err != nil {
			return err
		}
		s.pos, s.upTo = pos, to
		s.files[len(s.files)-1].to = to
		if err := s.trim(e.window.oldest()); err != nil || all {
			return err
		}
	}
}

// unsaved returns a block of the entries from a position on whose offsets are below to, the position after them, and
// whether those are all.
func (w *window) unsaved(pos, from, to uint64) (block []byte, after uint64, all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pos = max(pos, w.tail)
	block = make([]byte, blockHeaderLen, blockHeaderLen+entryBytes*min(blockEntries, int(w.head-pos)))
	n := 0
	for ; pos < w.head && w.at(pos).offset < to; pos++ {
		if n == blockEntries {
			break
		}
		block = w.at(pos).append(block)
		n++
	}
	binary.LittleEndian.PutUint32(block[4:], uint32(n))
	binary.LittleEndian.PutUint64(block[8:], from)
	binary.LittleEndian.PutUint64(block[16:], to)
	return block, pos, pos == w.head || w.at(pos).offset >= to
}

// oldest returns the offset of the oldest entry, or the largest number when there is none.
func (w *window) oldest() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tail == w.head {
		return math.MaxUint64
	}
	return w.at(w.tail).offset
}

func (f *fingerprint) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, f.id.hi)
	b = binary.LittleEndian.AppendUint32(b, f.id.lo)
	b = binary.LittleEndian.AppendUint32(b, f.at)
	b = binary.LittleEndian.AppendUint64(b, f.sum)
	b = binary.LittleEndian.AppendUint64(b, f.offset)
	return binary.LittleEndian.AppendUint64(b, f.place)
}

func parseFingerprint(b []byte) fingerprint {
	le := binary.LittleEndian
	return fingerprint{
		id: identity{hi: le.Uint64(b), lo: le.Uint32(b[8:])}, at: le.Uint32(b[12:]),
		sum: le.Uint64(b[16:]), offset: le.Uint64(b[24:]), place: le.Uint64(b[32:]),
	}
}

// write appends a block and syncs it. After an error the next block begins a new file.
func (s *saved) write(block []byte) (err error) {
	if s.file == nil || s.size >= savedFileBytes {
		if err := s.begin(); err != nil {
			return err
		}
	}
	_, err = s.file.Write(block)
	s.size += int64(len(block))
	if err = errors.Join(err, s.file.Sync()); err != nil {
		err = errors.Join(err, s.file.Close())
		s.file = nil
	}
	return err
}

func (s *saved) begin() error {
	if s.file != nil {
		err := s.file.Close()
		s.file = nil
		if err != nil {
			return err
		}
	}
	name := s.fs.PathJoin(s.dir, fmt.Sprintf("%010d%s", s.next, savedSuffix))
	f, err := s.fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	s.next++
	if err := syncDir(s.fs, s.dir); err != nil {
		return errors.Join(err, f.Close())
	}
	s.file, s.size = f, 0
	s.files = append(s.files, savedFile{name: name, to: s.upTo})
	return nil
}

// trim removes files that hold nothing of the window, but never the newest.
func (s *saved) trim(oldest uint64) error {
	for len(s.files) > 1 && s.files[0].to <= oldest {
		if err := s.fs.Remove(s.files[0].name); err != nil {
			return err
		}
		s.files = s.files[1:]
	}
	return nil
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

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
