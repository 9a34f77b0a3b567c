package demo

import (
	"bytes"
	"io"
	"os"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/examples/fleet/vehicle"
)

// FleetOptions say what is driven. The zero value drives made-up vehicles, at ten times real time, until the context is done.
type FleetOptions struct {
	// Data is as in Options.
	Data string
	// Positions is a file of positions in the format of examples/fleet/README.md. Empty means that they are made up.
	Positions string
	// Vehicles is how many are made up, with 200 positions each. Zero means 60.
	Vehicles int
	// Once sends every position once, waits until readers have seen them, compares what is stored and returns.
	Once bool
	// Speed is how much faster than real time vehicles drive. Zero means 10, and with Once as fast as they get receipts.
	Speed float64
	// Patience is how long Once waits while nothing happens before it gives up. Zero means a minute.
	Patience time.Duration

	// Public, API, Out, Bar and Command are as in Options.
	Public, API string
	Out         io.Writer
	Bar         io.Writer
	Command     []string

	// Control is as in Options: Run waits for it before it compares.
	Control func(f *Fleet) error
}

// madeUp is how many positions a made-up vehicle sends.
const madeUp = 200

func (o FleetOptions) check() error {
	switch {
	case o.Vehicles < 0 || o.Vehicles > 10_000:
		return tandem.Errorf(tandem.CodeInvalid, "%d vehicles: 1 to 10000 can be made up", o.Vehicles)
	case o.Vehicles > 0 && o.Positions != "":
		return tandem.Errorf(tandem.CodeInvalid, "the vehicles are those of %s: none are made up", o.Positions)
	case o.Speed < 0:
		return tandem.Errorf(tandem.CodeInvalid, "a speed of %g", o.Speed)
	}
	return nil
}

func (o FleetOptions) withDefaults() FleetOptions {
	if o.Vehicles == 0 {
		o.Vehicles = 60
	}
	if o.Speed == 0 && !o.Once {
		o.Speed = 10
	}
	if o.Patience <= 0 {
		o.Patience = time.Minute
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	return o
}

// tracks reads the positions, or makes them up.
func (o FleetOptions) tracks() ([]vehicle.Track, error) {
	if o.Positions == "" {
		return vehicle.Generate(o.Vehicles, madeUp, 25), nil
	}
	body, err := os.ReadFile(o.Positions)
	if err != nil {
		return nil, &tandem.Error{Code: tandem.CodeNotFound, Op: "read positions", Err: err}
	}
	tracks, err := vehicle.Read(bytes.NewReader(body))
	if err != nil {
		return nil, &tandem.Error{Code: tandem.CodeInvalid, Op: "read " + o.Positions, Err: err}
	}
	return tracks, nil
}
