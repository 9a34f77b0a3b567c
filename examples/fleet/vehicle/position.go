package vehicle

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Position is where a vehicle was, and the data of its event.
type Position struct {
	// N counts the positions of a vehicle, from 1.
	N         int     `json:"n"`
	Seconds   float64 `json:"seconds"` // since the beginning of the input
	Vendor    int     `json:"vendor"`
	Longitude float64 `json:"longitude"`
	Latitude  float64 `json:"latitude"`
}

// At is Seconds as a duration.
func (p Position) At() time.Duration { return time.Duration(p.Seconds * float64(time.Second)) }

// Track is the positions of one vehicle, at least one, in order.
type Track struct {
	Vehicle   string
	Positions []Position
}

// Columns are the heading of a file of positions.
var Columns = []string{"seconds", "vehicle_id", "vendor", "longitude", "latitude"}

// The name of a vehicle is a segment of a path.
var name = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Read reads CSV with the heading Columns, sorted by time, and returns the tracks in the order in which vehicles first appear. An error names
// the line.
func Read(r io.Reader) ([]Track, error) {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	heading, err := in.Read()
	if err == nil && !slices.Equal(heading, Columns) {
		err = fmt.Errorf("the heading is %q, want %q", heading, Columns)
	}
	if err != nil {
		return nil, err
	}
	var tracks []Track
	at := map[string]int{}
	for last := 0.0; ; {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		id, p, err := parse(row)
		if err == nil && p.Seconds < last {
			err = errors.New("it is earlier than the line before")
		}
		if err != nil {
			line, _ := in.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		last = p.Seconds
		i, ok := at[id]
		if !ok {
			i = len(tracks)
			at[id] = i
			tracks = append(tracks, Track{Vehicle: id})
		}
		p.N = len(tracks[i].Positions) + 1
		tracks[i].Positions = append(tracks[i].Positions, p)
	}
	if len(tracks) == 0 {
		return nil, errors.New("there are no positions in it")
	}
	return tracks, nil
}

func parse(row []string) (id string, p Position, err error) {
	if !name.MatchString(row[1]) {
		return "", p, fmt.Errorf("vehicle_id %q: letters, digits, _ and - only, at most 64", row[1])
	}
	if p.Vendor, err = strconv.Atoi(row[2]); err != nil {
		return "", p, fmt.Errorf("vendor %q is not a number", row[2])
	}
	for _, f := range []struct {
		column   int
		into     *float64
		min, max float64
	}{{0, &p.Seconds, 0, 1e8}, {3, &p.Longitude, -180, 180}, {4, &p.Latitude, -90, 90}} {
		v, err := strconv.ParseFloat(row[f.column], 64)
		if err != nil || math.IsNaN(v) || v < f.min || v > f.max {
			return "", p, fmt.Errorf("%s %q is not a number from %g to %g", Columns[f.column], row[f.column], f.min, f.max)
		}
		*f.into = v
	}
	return row[1], p, nil
}

// Duration is the time of the last position of tracks.
func Duration(tracks []Track) (last time.Duration) {
	for _, t := range tracks {
		last = max(last, t.Positions[len(t.Positions)-1].At())
	}
	return last
}

// Count is the number of positions of tracks.
func Count(tracks []Track) (n int) {
	for _, t := range tracks {
		n += len(t.Positions)
	}
	return n
}
