package fleet

// Largest looks for the largest number that holds, from start up to limit, which are positive: by doubling (halving, when start does not hold) and
// then between two until they are as close as precision, a share of the smaller one. It asks on as long as more says so. It returns
// the largest number that held, 0 if none did, and the smallest that did not, 0 if all held. An error of holds ends it.
func Largest(start, limit int, precision float64, holds func(n int) (bool, error), more func() bool) (held, failed int, err error) {
	for n := min(start, limit); more(); {
		ok, err := holds(n)
		if err != nil {
			return held, failed, err
		}
		if ok {
			held = n
		} else {
			failed = n
		}
		switch {
		case held >= limit, failed == 1:
			return held, failed, nil
		case failed == 0:
			n = min(2*held, limit)
		case held == 0:
			n = failed / 2
		case failed-held <= max(int(precision*float64(held)), 1):
			return held, failed, nil
		default:
			n = held + (failed-held)/2
		}
	}
	return held, failed, nil
}
