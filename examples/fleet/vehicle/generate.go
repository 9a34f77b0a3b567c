package vehicle

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Generate makes tracks of so many positions each, which are the same for the same numbers. The vehicles drive along the streets of a town
// that is a grid, and send a position about every five seconds.
func Generate(vehicles, positions int, seed uint64) []Track {
	const (
		west, south  = 13.30, 52.47 // of the town, in degrees
		east, north  = 13.50, 52.57
		across, down = 0.0040, 0.0025 // from one street to the next
		step         = 0.25           // of a block, between two positions
	)
	r := rand.New(rand.NewPCG(seed, 25))
	tracks := make([]Track, vehicles)
	for i := range tracks {
		t := &tracks[i]
		t.Vehicle = fmt.Sprintf("v%04d", i+1)
		// Places and steps are in blocks.
		x, y := float64(r.IntN(51)), float64(r.IntN(41))
		dx, dy := 1.0, 0.0
		vendor, at := r.IntN(4)/3, 5*r.Float64()
		for n := range positions {
			if n%int(1/step) == 0 { // a crossing
				switch turn := r.IntN(4); {
				case turn == 0:
					dx, dy = dy, -dx
				case turn == 1:
					dx, dy = -dy, dx
				}
				if x+dx < 0 || x+dx > 50 || y+dy < 0 || y+dy > 40 {
					dx, dy = -dx, -dy // the end of the town
				}
			}
			x, y = x+dx*step, y+dy*step
			t.Positions = append(t.Positions, Position{N: n + 1, Seconds: round(at, 3), Vendor: vendor,
				Longitude: round(min(west+x*across, east), 6), Latitude: round(min(south+y*down, north), 6)})
			at += 4 + 2*r.Float64()
		}
	}
	return tracks
}

func round(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}
