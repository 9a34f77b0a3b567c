package stream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/stream"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// TestStopAmidEverything: Drain and Stop, several of them at once, while streams are opened, attached, behind, stuck, waiting for credit and
// publishing to a log that does not answer. Nothing is left, and the log can be closed.
func TestStopAmidEverything(t *testing.T) {
	for round := range 12 {
		logs := new(logs)
		h := newHarness(t, memlog.Options{Partitioned: round%2 == 1}, stream.Options{Logger: logs.logger()}, narrow, publishing)
		rng := rand.New(rand.NewPCG(uint64(round), 11))
		h.numbered(0, 300, 100, 8<<10)
		h.open("topic=a").next()
		h.stuck("topic=a&from=earliest") // behind
		h.stuck("topic=a")               // attached, and stuck with what comes
		h.socket("topic=a", "cloudevents.json")
		window := h.socket("topic=a&from=earliest&credit=2", tandemV1)
		window.data(2)
		h.numbered(300, 100, 100, 8<<10)
		poll := make(chan struct{})
		go func() { defer close(poll); get(h, "topic=b&wait=5m") }()
		reached, resume := h.engine.Stall()
		publisher := h.socket("topic=b", tandemV1)
		publisher.send(websocket.Text, publishFrame(1, 10))
		<-reached
		waitOpen(t, h, 7)
		var wg sync.WaitGroup
		comes := 0
		for range 6 { // come while it stops
			wait := time.Duration(rng.IntN(3000)) * time.Microsecond
			sent := []string{upgrade, sseRequest, strings.Replace(sseRequest, "topic=a", "topic=a&from=earliest", 1)}[rng.IntN(3)]
			comes++
			wg.Go(func() { time.Sleep(wait); h.raw(sent) })
		}
		for i := range 6 {
			wait := time.Duration(rng.IntN(3000)) * time.Microsecond
			ends := time.Duration(rng.IntN(100)) * time.Millisecond
			wg.Go(func() {
				time.Sleep(wait)
				ctx, cancel := context.WithTimeout(context.Background(), ends)
				defer cancel()
				if i%2 == 0 {
					_ = h.streams.Drain(ctx) // too short, which is an error
				} else {
					_ = h.streams.Stop(ctx)
					h.idle()
				}
			})
		}
		wg.Wait()
		if tails, members := h.streams.Internals(); tails != 0 || members != 0 || h.streams.Open() != 0 || h.streams.WaitingBytes() != 0 {
			t.Errorf("%d tails, %d members, %d open, %d bytes wait", tails, members, h.streams.Open(), h.streams.WaitingBytes())
		}
		if resp, _ := get(h, "topic=a&wait=1s"); resp.StatusCode != 503 {
			t.Errorf("afterwards: %s", resp.Status)
		}
		<-poll
		resume()
		if err := h.log.Close(); err != nil {
			t.Error(err)
		}
		logs.check(t, 7+comes)
	}
}

// TestDrainWaitsForNobody: clients that have read all close, and a drain has ended when they have; a second one has nothing to do.
func TestDrainWaitsForNobody(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	var wg sync.WaitGroup
	for range 20 {
		conn := h.raw(sseRequest)
		wg.Go(func() {
			defer conn.Close()
			buf := make([]byte, 4096)
			for {
				if _, err := conn.Read(buf); err != nil {
					return
				}
			}
		})
	}
	waitOpen(t, h, 20)
	for range 2 {
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if err := h.streams.Drain(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if h.streams.Open() != 0 {
			t.Errorf("%d are open", h.streams.Open())
		}
	}
	wg.Wait()
	h.idle()
}

// TestDrainSpreads: clients are asked to come back at different times, within a window that grows with their number.
func TestDrainSpreads(t *testing.T) {
	const clients = 500
	h := newHarness(t, memlog.Options{}, stream.Options{Retry: 200 * time.Millisecond, ReconnectRate: 1000})
	after := make(chan int, clients)
	for i := range clients {
		if i%2 == 0 {
			c := h.open("topic=a")
			c.next()
			go func() {
				m, ok := c.next()
				for ok && m.event != "reconnect" {
					m, ok = c.next()
				}
				n, _ := strconv.Atoi(m.retry)
				after <- n
			}()
			continue
		}
		s := h.socket("topic=a", tandemV1)
		go func() {
			defer s.conn.Close()
			var f reply
			for f.Reconnect == nil {
				m, ok := s.next()
				if !ok || json.Unmarshal(m.Data, &f) != nil {
					after <- 0
					return
				}
			}
			after <- f.Reconnect.After
		}()
	}
	go func() { _ = h.streams.Drain(context.Background()) }()
	times := map[int]int{}
	late := 0
	for range clients {
		ms := <-after
		if times[ms]++; ms < 100 || ms > 100+200+500 {
			t.Errorf("after %d ms", ms)
		}
		if ms > 300 { // more than Retry alone would make it
			late++
		}
	}
	if len(times) < 100 || late < clients/10 {
		t.Errorf("%d times for %d clients, %d of them late", len(times), clients, late)
	}
}

// TestRecreatedUnderStreams: streams of a topic that is deleted and created again are told so once, and go on.
func TestRecreatedUnderStreams(t *testing.T) {
	for name, engine := range engines {
		for round := range 20 {
			t.Run(fmt.Sprint(name, round), func(t *testing.T) {
				h := newHarness(t, engine, stream.Options{})
				topics := []string{"topic=a", "topic=*", "topic=a&topic=b"}[round%3]
				h.publish("a", "t", "0")
				c, s := h.open(topics+"&from=earliest"), h.socket(topics+"&from=earliest", tandemV1)
				c.next() // the place where they begin
				s.frame()
				if round%2 == 0 { // otherwise they are on their way
					c.events(1)
					s.data(1)
				}
				if err := h.log.DeleteTopic(context.Background(), "a"); err != nil {
					t.Fatal(err)
				}
				if _, err := h.log.CreateTopic(context.Background(), tandem.Topic{Name: "a", Partitions: 2}); err != nil {
					t.Fatal(err)
				}
				h.publish("a", "t", "1")
				gaps, at := 0, ""
				for {
					m, ok := c.next()
					if !ok {
						t.Fatal("the stream ended")
					}
					if m.event == "gap" {
						gaps++
						at = m.id
						if !strings.Contains(m.data, tandem.GapRecreated) {
							t.Errorf("%+v", m)
						}
					}
					if strings.Contains(m.data, `"data":1`) {
						break
					}
				}
				if gaps != 1 {
					t.Errorf("%d gaps", gaps)
				}
				gaps = 0
				for {
					f := s.frame()
					if f.Gap != nil {
						gaps++
					}
					if strings.Contains(string(f.Event), `"data":1`) {
						break
					}
				}
				if gaps != 1 {
					t.Errorf("%d gaps over the WebSocket", gaps)
				}
				if m := h.open(topics, "Last-Event-ID", at).skip(func(m message) bool { return m.data != "" }); !strings.Contains(m.data, `"data":1`) {
					t.Errorf("behind the gap comes %+v", m)
				}
			})
		}
	}
}
