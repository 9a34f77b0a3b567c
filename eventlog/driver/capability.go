package driver

// Capability is one thing that engines differ in, for people: `tandem check` and the status show them, docs/guarantees.md has the table.
type Capability struct {
	Name string `json:"name"` // receipt, batches, repeats, cursor, counts, writers
	Is   string `json:"is"`
}

// Capabilities says what an engine declares, in the order of the table.
func (i *Info) Capabilities() []Capability {
	pick := func(yes bool, is, not string) string {
		if yes {
			return is
		}
		return not
	}
	repeats := map[DedupPlace]string{
		DedupAtAppend:   "recognised when they are published, within the window",
		DedupAtDelivery: `recognised when they are published if the first was read by then, otherwise when they are read: receipts say "duplicate": "unknown"`,
		DedupBoth:       "recognised when they are published, within the server's window or if the first was read by then, otherwise when they are read",
	}
	return []Capability{
		{"receipt", i.Durable},
		{"batches", pick(i.Atomic, "stored whole, over topics and together with state", "stored whole in each partition; replies, then their acknowledgement")},
		{"repeats", repeats[i.Dedup]},
		{"cursor", pick(i.TotalOrder, "one number, for any number of topics", "an offset for each partition, at most 3 KiB in all")},
		{"counts", pick(i.SparseSeq || i.Dedup != DedupAtAppend, "of events are upper bounds: they include what is no event, or a repeat", "of events are exact")},
		{"writers", pick(i.Shared, "others may write to the topics too", "this process alone")},
	}
}
