package positions

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/examples/fleet/vehicle"
)

// file is the real input: positions of taxis, in the format of examples/fleet/README.md.
const file = "vehicle-positions.csv"

// load reads the tracks of a directory, or makes some up when they are not there.
func load(dir string, seed uint64) ([]vehicle.Track, error) {
	made := func() []vehicle.Track { return vehicle.Generate(500, 100, seed) }
	if dir == "" {
		return made(), nil
	}
	f, err := os.Open(filepath.Join(dir, file))
	if errors.Is(err, fs.ErrNotExist) {
		return made(), nil
	}
	if err != nil {
		return nil, tandem.Wrap("read positions", err)
	}
	defer f.Close()
	tracks, err := vehicle.Read(f)
	if err != nil {
		return nil, &tandem.Error{Code: tandem.CodeInvalid, Op: "read " + f.Name(), Err: err}
	}
	return tracks, nil
}
