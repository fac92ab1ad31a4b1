package admission

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/lru"
	"sigs.k8s.io/yaml"
)

// eventLimit is one limit of the plugin's configuration
// (eventratelimit.admission.k8s.io/v1alpha1).
type eventLimit struct {
	// Type is Server, Namespace, User or SourceAndObject: what has a limit of its own.
	Type string `json:"type"`
	// QPS and Burst are events per second, and how many at once.
	QPS   int32 `json:"qps"`
	Burst int32 `json:"burst"`
	// CacheSize is how many limits are kept; 0 means 4096.
	CacheSize int32 `json:"cacheSize"`

	limiters *lru.Cache
}

// eventRateLimit refuses events beyond the configured rates.
type eventRateLimit struct {
	*admission.Handler
	limits []*eventLimit
}

func newEventRateLimit(_ Options, config io.Reader) (admission.Interface, error) {
	if config == nil {
		return nil, errors.New("a configuration of eventratelimit.admission.k8s.io/v1alpha1 is required: give one in --admission-control-config-file")
	}
	text, err := io.ReadAll(config)
	if err != nil {
		return nil, err
	}
	var c struct {
		Limits []*eventLimit `json:"limits"`
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		return nil, err
	}
	if len(c.Limits) == 0 {
		return nil, errors.New("limits: Invalid value: must not be empty")
	}
	for i, l := range c.Limits {
		if eventKey(l.Type, nil) == nil {
			return nil, fmt.Errorf("limits[%d].type: Unsupported value: %q: must be Server, Namespace, User or SourceAndObject", i, l.Type)
		}
		if l.QPS <= 0 || l.Burst <= 0 || l.CacheSize < 0 {
			return nil, fmt.Errorf("limits[%d]: qps and burst must be positive, cacheSize must not be negative", i)
		}
		size := int(l.CacheSize)
		if size == 0 {
			size = 4096
		}
		l.limiters = lru.New(size)
	}
	return &eventRateLimit{admission.NewHandler(admission.Create, admission.Update), c.Limits}, nil
}

// eventKey is what shares a limit of a type; nil for types there are not.
func eventKey(limit string, a admission.Attributes) *string {
	var key string
	switch limit {
	case "Server":
	case "Namespace":
		if a != nil {
			key = a.GetNamespace()
		}
	case "User":
		if a != nil && a.GetUserInfo() != nil {
			key = a.GetUserInfo().GetName()
		}
	case "SourceAndObject":
		if a == nil {
			break
		}
		if e, ok := a.GetObject().(*corev1.Event); ok {
			o := e.InvolvedObject
			key = strings.Join([]string{e.Source.Component, e.Source.Host, o.Kind, o.Namespace, o.Name, string(o.UID), o.APIVersion}, "")
		}
	default:
		return nil
	}
	return &key
}

// Validate implements admission.ValidationInterface.
func (e *eventRateLimit) Validate(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if _, ok := a.GetObject().(*corev1.Event); !ok || a.IsDryRun() {
		return nil
	}
	var errs []error
	for _, l := range e.limits {
		key := *eventKey(l.Type, a)
		limiter, ok := l.limiters.Get(key)
		if !ok {
			limiter = flowcontrol.NewTokenBucketRateLimiter(float32(l.QPS), int(l.Burst))
			l.limiters.Add(key, limiter)
		}
		if r, ok := limiter.(flowcontrol.RateLimiter); ok && !r.TryAccept() {
			errs = append(errs, fmt.Errorf("limit reached on type %v for key %v", l.Type, key))
		}
	}
	if err := utilerrors.NewAggregate(errs); err != nil {
		return apierrors.NewTooManyRequestsError(err.Error())
	}
	return nil
}
