package kafkalog

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem"
)

// coded gives an error of the client or a broker the code that says what to do about it.
func coded(doing string, err error) error {
	var known *tandem.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, kgo.ErrClientClosed):
		return errClosed()
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		return tandem.Errorf(tandem.CodeTooLarge, "%s: %w", doing, err).WithHint("raise max.message.bytes of the topic")
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID):
		return tandem.Errorf(tandem.CodeNotFound, "%s: %w", doing, err)
	case errors.Is(err, kgo.ErrMaxBuffered):
		return tandem.Errorf(tandem.CodeOverloaded, "%s: too much waits to be written", doing)
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed), errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return tandem.Errorf(tandem.CodeUnavailable, "%s: %w", doing, err).WithHint("the user of this process lacks a right in Kafka: docs/kafka.md lists what it needs")
	case errors.Is(err, kerr.NotEnoughReplicas), errors.Is(err, kerr.NotEnoughReplicasAfterAppend):
		return tandem.Errorf(tandem.CodeUnavailable, "%s: fewer replicas are in sync than min.insync.replicas asks for", doing)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return tandem.Errorf(tandem.CodeUnavailable, "%s: no answer in time", doing)
	}
	return tandem.Errorf(tandem.CodeUnavailable, "%s: %w", doing, err)
}

func errClosed() *tandem.Error { return tandem.Errorf(tandem.CodeUnavailable, "the log is closed") }

func errDeposed() *tandem.Error {
	return tandem.Errorf(tandem.CodePrecondition, "another process has opened this log and took it over").
		WithHint("one process at a time writes to a log: end this one, or give it a prefix of its own")
}

func errTooLarge(t *topic, size int) error {
	return tandem.Errorf(tandem.CodeTooLarge, "a record of %d bytes is too large for %s, which takes batches of %d", size, t.Name, t.limit).
		WithHint("store what is large elsewhere, or raise max.message.bytes of the topic %s in Kafka and start again", t.kafka)
}

func errLate(doing string) *tandem.Error {
	return tandem.Errorf(tandem.CodeUnavailable, "%s: the brokers have not answered in time; it may yet be stored", doing)
}

func errNoPartition(id, part any) *tandem.Error {
	return tandem.Errorf(tandem.CodeNotFound, "no partition %v of topic %v", part, id)
}
