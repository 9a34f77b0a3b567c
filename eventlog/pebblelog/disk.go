package pebblelog

import (
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandem-hybrid/tandem"
)

// disk watches the free space of the volume.
type disk struct {
	fs vfs.FS
}

func openDisk(opts Options, dir string) (*disk, error) { return &disk{fs: opts.FS}, nil }

func (d *disk) full() bool   { return false }
func (d *disk) close() error { return nil }

func (d *disk) errFull() error {
	return tandem.Errorf(tandem.CodeUnavailable, "the volume of the data directory is below its free-space mark")
}
