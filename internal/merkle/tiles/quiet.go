package tiles

import (
	"sync"

	"k8s.io/klog/v2"
)

// quiet keeps Tessera's log off standard error; every failure that matters comes back from a call. That logger belongs
// to the process and may be set only while nobody logs: so once, before the first Tessera runs. The road not taken is
// to pass its lines on: they would go to whichever log was opened first.
var quiet = sync.OnceValue(func() bool {
	klog.SetLogger(klog.Logger{})
	return true
})
