package tandem

import "time"

// Defaults of a Subscription.
const (
	DefaultAttempts     = 12
	DefaultConcurrency  = 32
	DefaultLeases       = 1000 // Concurrency of a subscription that is pulled
	DefaultBatchSize    = 100
	DefaultTimeout      = 10 * time.Second
	DefaultBackoffBase  = time.Second
	DefaultBackoffMax   = 10 * time.Minute
	DefaultRetryAfter   = time.Hour
	DefaultPauseAfter   = 24 * time.Hour
	DefaultVisibility   = 30 * time.Second
	MaxVisibility       = 12 * time.Hour
	MaxPullWait         = time.Minute
	DefaultLedgerAge    = 7 * 24 * time.Hour
	DefaultLedgerBytes  = 256 << 20          // per subscription
	DefaultFlowAge      = 7 * 24 * time.Hour // how far the index of flows goes back
	DefaultFlowBytes    = 1 << 30            // of it, before compression
	MaxAttemptsRecorded = 16                 // the first and the newest of them are kept
)
