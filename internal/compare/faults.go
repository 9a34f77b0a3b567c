package compare

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// FaultPlan is a fault to be injected.
type FaultPlan struct {
	Process string        // the name of a service, or "tandem"
	Down    bool          // it is killed, and started again at the end
	Slow    time.Duration // each call of it takes so much longer
	Error   float64       // share of the calls that are answered 500 and do not reach it
	At, For time.Duration // since the beginning of the cell; For zero means the middle third of the cell
}

// Tandem and Broker name what is no service in a FaultPlan.
const (
	Tandem = "tandem"
	Broker = "broker"
)

// Kind is what --fault calls it: "down", "slow=500ms" or "error=30%".
func (f FaultPlan) Kind() string {
	switch {
	case f.Down:
		return "down"
	case f.Slow > 0:
		return "slow=" + f.Slow.String()
	}
	return "error=" + strconv.FormatFloat(f.Error*100, 'f', -1, 64) + "%"
}

func (f FaultPlan) String() string {
	if f.For == 0 {
		return f.Process + ":" + f.Kind()
	}
	return fmt.Sprintf("%s:%s@%s+%s", f.Process, f.Kind(), f.At, f.For)
}

// In fits the fault into a cell: without times of its own it takes the middle third.
func (f FaultPlan) In(duration time.Duration) FaultPlan {
	if f.For == 0 {
		f.At, f.For = duration/3, duration/3
	}
	return f
}

// ParseFault reads PROCESS:KIND[@AT+FOR], where KIND is down, slow=DURATION or error=PERCENT%. Code: Invalid.
func ParseFault(s string) (f FaultPlan, err error) {
	bad := func(what string) (FaultPlan, error) {
		return f, tandem.Errorf(tandem.CodeInvalid, "fault %q: %s", s, what).
			WithHint("such as payments:down@10s+10s, payments:slow=500ms, payments:error=30%% or tandem:down")
	}
	rest, when, timed := strings.Cut(s, "@")
	process, kind, ok := strings.Cut(rest, ":")
	if !ok || process == "" {
		return bad("it is not PROCESS:KIND")
	}
	f.Process = process
	name, value, _ := strings.Cut(kind, "=")
	switch name {
	case "down":
		f.Down = value == ""
	case "slow":
		f.Slow, err = time.ParseDuration(value)
		if err != nil || f.Slow <= 0 {
			return bad("slow= wants a duration")
		}
	case "error":
		percent, perr := strconv.ParseFloat(strings.TrimSuffix(value, "%"), 64)
		if perr != nil || !strings.HasSuffix(value, "%") || !(percent > 0 && percent <= 100) {
			return bad("error= wants a percentage above 0 and at most 100")
		}
		f.Error = percent / 100
	}
	if !f.Down && f.Slow == 0 && f.Error == 0 {
		return bad("the kinds are down, slow=DURATION and error=PERCENT%")
	}
	if process == Tandem && !f.Down {
		return bad("tandem can only be down")
	}
	if process == Broker {
		return bad("this run starts no broker that it could kill: events are in the embedded log")
	}
	if timed {
		at, length, ok := strings.Cut(when, "+")
		f.At, err = time.ParseDuration(at)
		if err != nil || !ok || f.At < 0 {
			return bad("after @ it wants AT+FOR, two durations")
		}
		if f.For, err = time.ParseDuration(length); err != nil || f.For <= 0 {
			return bad("after @ it wants AT+FOR, two durations")
		}
	}
	return f, nil
}
