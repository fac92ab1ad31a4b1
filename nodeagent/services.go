package nodeagent

import (
	"context"
	"errors"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// serviceWatch knows the services, for the variables that containers get.
type serviceWatch struct {
	lister listers.ServiceLister
	synced cache.InformerSynced
	inform cache.SharedIndexInformer
}

func newServiceWatch(a *Agent) *serviceWatch {
	f := informers.NewSharedInformerFactory(a.client, 0)
	s := f.Core().V1().Services()
	w := &serviceWatch{lister: s.Lister(), inform: s.Informer()}
	w.synced = w.inform.HasSynced
	return w
}

func (s *serviceWatch) run(ctx context.Context) error {
	s.inform.RunWithContext(ctx)
	return nil
}

// Services implements env.Services. Right after the agent's start it waits a
// moment for the first list.
func (s *serviceWatch) Services(namespace string) ([]*v1.Service, error) {
	if !s.synced() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if !cache.WaitForCacheSync(ctx.Done(), s.synced) {
			return nil, errors.New("services have not yet been read at least once, cannot construct envvars")
		}
	}
	return s.lister.Services(namespace).List(labels.Everything())
}
