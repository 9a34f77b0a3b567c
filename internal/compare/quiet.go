package compare

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-hybrid/tandem/client"
)

// patience is how long nothing may change before work that is not done is given up.
const patience = 10 * time.Second

// Quiet waits until the system that Start started has nothing left to deliver. It gives up, which is no error, when
// nothing has changed for 10 s: what is not done then will not be. Code: Unavailable when the API does not answer.
func (e *Env) Quiet(ctx context.Context) error {
	c, err := client.New(e.system.API, client.Options{Retries: 20})
	if err != nil {
		return err
	}
	return Await(ctx, func(ctx context.Context) (left int, state string, err error) {
		subs, err := c.Subscriptions(ctx)
		for _, s := range subs {
			if st := s.Status; st != nil {
				left += int(st.Lag) + st.InFlight + st.Retrying + st.Waiting
				state += fmt.Sprint(st.Lag, st.Retrying, st.Dead, st.Delivered, st.Failed, " ")
			}
		}
		return left, state, err
	})
}

// Await looks again and again until nothing is left, or the state that look returns has not changed for 10 s, which is no
// error either. The longer it waits the more seldom it looks, from 50 ms to half a second: those who answer use CPU that is measured.
func Await(ctx context.Context, look func(context.Context) (left int, state string, err error)) error {
	last, changed := "", time.Now()
	for began := changed; ; {
		left, state, err := look(ctx)
		if err != nil || left == 0 {
			return err
		}
		if state != last {
			last, changed = state, time.Now()
		}
		if time.Since(changed) > patience {
			return nil
		}
		select {
		case <-time.After(min(max(time.Since(began)/10, 50*time.Millisecond), 500*time.Millisecond)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
