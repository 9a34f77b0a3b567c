package vehicle

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

const heading = "seconds,vehicle_id,vendor,longitude,latitude\n"

func TestRead(t *testing.T) {
	tracks, err := Read(strings.NewReader(heading + "6.000,b,1,-73.98604,40.71771\n6.5,a,0,1,2\n10.25,b,1,-180,-90\n"))
	want := []Track{
		{"b", []Position{{1, 6, 1, -73.98604, 40.71771}, {2, 10.25, 1, -180, -90}}},
		{"a", []Position{{1, 6.5, 0, 1, 2}}},
	}
	if err != nil || !reflect.DeepEqual(tracks, want) {
		t.Errorf("%+v, %v", tracks, err)
	}
	if n, d := Count(tracks), Duration(tracks); n != 3 || d != 10250*time.Millisecond {
		t.Errorf("%d positions within %s", n, d)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct{ file, says string }{
		{"", "EOF"},
		{heading, "no positions"},
		{"vehicle,seconds\n", "heading"},
		{heading + "1,a,0,1\n", "wrong number of fields"},
		{heading + "1,a,0,1,2\n0.5,a,0,1,2\n", "line 3: it is earlier"},
		{heading + "1,a/b,0,1,2\n", `line 2: vehicle_id "a/b"`},
		{heading + "1,,0,1,2\n", "vehicle_id"},
		{heading + "1,a,x,1,2\n", "vendor"},
		{heading + "-1,a,0,1,2\n", "seconds"},
		{heading + "NaN,a,0,1,2\n", "seconds"},
		{heading + "1,a,0,181,2\n", "longitude"},
		{heading + "1,a,0,1,-91\n", "latitude"},
	} {
		if tracks, err := Read(strings.NewReader(c.file)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, %v; want %q", c.file, tracks, err, c.says)
		}
	}
}

// What is made up is the same each time, and could be in a file.
func TestGenerate(t *testing.T) {
	tracks := Generate(7, 30, 25)
	if !reflect.DeepEqual(tracks, Generate(7, 30, 25)) || reflect.DeepEqual(tracks, Generate(7, 30, 26)) {
		t.Error("it does not follow from the numbers")
	}
	if len(tracks) != 7 || Count(tracks) != 210 {
		t.Errorf("%d vehicles, %d positions", len(tracks), Count(tracks))
	}
	for _, track := range tracks {
		for i, p := range track.Positions {
			row := []string{fmt.Sprint(p.Seconds), track.Vehicle, fmt.Sprint(p.Vendor), fmt.Sprint(p.Longitude), fmt.Sprint(p.Latitude)}
			id, got, err := parse(row)
			if got.N = i + 1; err != nil || id != track.Vehicle || got != p || i > 0 && p.Seconds <= track.Positions[i-1].Seconds {
				t.Fatalf("%s: %+v, %v", track.Vehicle, p, err)
			}
			if p.Longitude < 13.3 || p.Longitude > 13.5 || p.Latitude < 52.47 || p.Latitude > 52.57 {
				t.Errorf("%s leaves the town: %+v", track.Vehicle, p)
			}
		}
	}
}
