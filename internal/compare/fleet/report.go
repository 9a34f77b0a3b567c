package fleet

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/tandem-hybrid/tandem/examples/fleet/vehicle"
)

// Report is what a vehicle sends: the data of an event.
type Report struct {
	Unit string `json:"unit"` // of work
	vehicle.Position
}

// Reporter sends reports. Report returns when the report is stored, as far as whoever took it said so. Safe for concurrent use; reports of one
// vehicle are sent one after another. Close ends what is under way.
type Reporter interface {
	Report(ctx context.Context, vehicle int, r Report) error
	Wire() Wire
	Close()
}

// Wire is what went over the connections of a reporter since they were open.
type Wire struct {
	Requests int64 // calls, or frames that publish
	Bytes    int64 // in both directions, headers included
}

// Name is the name of a vehicle, by its number.
func Name(vehicle int) string { return fmt.Sprintf("v%06d", vehicle) }

// Positions returns what the n-th report of a vehicle says: vehicles beyond those of the tracks drive along the same ones, and all begin again at
// the end.
func Positions(tracks []vehicle.Track) func(vehicle, n int) vehicle.Position {
	return func(v, n int) vehicle.Position {
		t := tracks[v%len(tracks)].Positions
		p := t[n%len(t)]
		p.N = n + 1
		return p
	}
}

// wire counts.
type wire struct{ requests, bytes atomic.Int64 }

// Wire returns what was counted so far.
func (w *wire) Wire() Wire { return Wire{w.requests.Load(), w.bytes.Load()} }
