// Package cook is the kitchen: a plain HTTP handler that takes an order as a CloudEvent in JSON and answers, when the dish is
// ready, with another. It keeps nothing: an order whose answer was lost is delivered again, and takes as long again.
package cook

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"time"
)

// MaxWithin is the longest that a dish may take.
const MaxWithin = 20 * time.Second

const maxBytes = 64 << 10

// Order is the data of order.placed.
type Order struct {
	Dish string `json:"dish"`
	// Within is the longest that the dish takes, such as "1.5s".
	Within string `json:"within"`
}

// Ready is the data of order.ready.
type Ready struct {
	Dish string    `json:"dish"`
	At   time.Time `json:"at"` // by the kitchen's clock
}

type event struct {
	SpecVersion string `json:"specversion"`
	ID          string `json:"id"`
	Source      string `json:"source"`
	Type        string `json:"type"`
	Subject     string `json:"subject"`
	Data        any    `json:"data"`
}

// Handler is the service.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /events", cook)
	return mux
}

func cook(w http.ResponseWriter, r *http.Request) {
	var order Order
	placed := event{Data: &order}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBytes)).Decode(&placed)
	if err != nil || placed.Type != "order.placed" || placed.ID == "" || placed.Subject == "" {
		http.Error(w, "send an order.placed in application/cloudevents+json, with the order as its subject", http.StatusBadRequest)
		return
	}
	within, err := time.ParseDuration(order.Within)
	if err != nil || within < 0 || within > MaxWithin {
		http.Error(w, "within: a duration of at most "+MaxWithin.String()+", such as 1.5s", http.StatusUnprocessableEntity)
		return
	}
	dish := time.NewTimer(Takes(placed.Subject, within))
	defer dish.Stop()
	select {
	case <-dish.C:
	case <-r.Context().Done():
		return // nobody waits for this answer any more
	}
	w.Header().Set("Content-Type", "application/cloudevents+json")
	_ = json.NewEncoder(w).Encode(event{SpecVersion: "1.0", ID: placed.ID + ".ready", Source: "/kitchen", Type: "order.ready", Subject: placed.Subject,
		Data: Ready{Dish: order.Dish, At: time.Now()}}) // Tandem is gone: it will ask again
}

// Takes is how long an order takes: any time from nothing to within, the same for the same order.
func Takes(order string, within time.Duration) time.Duration {
	sum := sha256.Sum256([]byte(order))
	return time.Duration(float64(within) * (float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)))
}
