package pebblelog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

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
