package bus

import ("context";"fmt")

func (b *Bus) Dump(ctx context.Context) {
	l := b.link.Load()
	in := l.js.ListStreams(ctx)
	for s := range in.Info() { fmt.Println(s.Config.Name, len(s.Config.Subjects), s.State.Msgs, s.State.Consumers)
	 st, _ := l.js.Stream(ctx, s.Config.Name)
	 for c := range st.ListConsumers(ctx).Info() { fmt.Println("  ", c.Name, c.Config.DeliverSubject, c.Config.FilterSubjects, c.NumPending, c.NumAckPending, c.PushBound) }
	}
}
