using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;

namespace LoraNet.Tensors.Cpu;

/// <summary>
/// A few threads that help the caller with the chunks of one operation at a time. Chunks are claimed from a counter, so
/// that a slow or preempted thread costs at most one chunk. Workers spin briefly for the next operation, then sleep.
/// A second caller while the pool is busy does all its chunks itself: there are never more busy threads than asked for plus callers.
/// </summary>
internal sealed unsafe class WorkerPool : IDisposable
{
    private readonly Thread[] _workers;
    private readonly SemaphoreSlim _wake = new(0);
    private readonly long _spinTicks;
    private int _busy;
    private int _sleeping;
    private volatile bool _stop;

    // One 64-bit word says which job it is (upper half) and how many chunks are still unclaimed (lower half), so that a
    // late worker can never claim a chunk of a job whose action is gone.
    private long _state;
    private delegate*<void*, int, void> _invoke;
    private void* _action;
    private int _chunks;
    private int _finished;
    private Exception? _failure;

    public WorkerPool(int threads, int spinMicroseconds)
    {
        Threads = threads;
        _spinTicks = spinMicroseconds * Stopwatch.Frequency / 1_000_000;
        _workers = new Thread[threads - 1];
        for (int i = 0; i < _workers.Length; i++)
        {
            _workers[i] = new Thread(Work, 1024 * 1024) { IsBackground = true, Name = $"LoraNet worker {i + 1}" };
            _workers[i].Start();
        }
    }

    /// <summary>Threads that compute, the caller's included.</summary>
    public int Threads { get; }

    /// <summary>Runs all chunks and returns when the last has finished.</summary>
    public void Run<TAction>(int chunks, ref TAction action) where TAction : struct, IChunkAction
    {
        if (chunks <= 1 || _workers.Length == 0 || Interlocked.CompareExchange(ref _busy, 1, 0) != 0)
        {
            for (int i = 0; i < chunks; i++) action.Invoke(i);
            return;
        }
        // The action lives on this thread's stack, which does not move, and this method returns only after all chunks.
        _action = Unsafe.AsPointer(ref action);
        _invoke = &Call<TAction>;
        _chunks = chunks;
        _failure = null;
        Volatile.Write(ref _finished, 0);
        long job = ((Volatile.Read(ref _state) >> 32) + 1) << 32;
        Interlocked.Exchange(ref _state, job | (uint)chunks);
        int sleeping = Volatile.Read(ref _sleeping);
        if (sleeping > 0) _wake.Release(Math.Min(sleeping, chunks - 1));
        Claim(job);
        SpinWait spin = default;
        while (Volatile.Read(ref _finished) < chunks) spin.SpinOnce(sleep1Threshold: -1);
        Exception? failure = _failure;
        _failure = null;
        _action = null;
        Volatile.Write(ref _busy, 0);
        if (failure is not null) ExceptionDispatchInfo.Throw(failure);
    }

    private static void Call<TAction>(void* action, int chunk) where TAction : struct, IChunkAction =>
        Unsafe.AsRef<TAction>(action).Invoke(chunk);

    /// <summary>Does chunks of <paramref name="job"/> until none is left.</summary>
    private void Claim(long job)
    {
        while (true)
        {
            long state = Volatile.Read(ref _state);
            if ((state & ~0xffffffffL) != job || (uint)state == 0) return;
            // Read before claiming: if the claim succeeds the job was still this one, so these belong to it.
            delegate*<void*, int, void> invoke = _invoke;
            void* action = _action;
            int chunks = _chunks;
            if (Interlocked.CompareExchange(ref _state, state - 1, state) != state) continue;
            try
            {
                invoke(action, chunks - (int)(uint)state);
            }
            catch (Exception e)
            {
                Interlocked.CompareExchange(ref _failure, e, null);
            }
            Interlocked.Increment(ref _finished);
        }
    }

    private void Work()
    {
        long seen = 0;
        while (!_stop)
        {
            long state = Volatile.Read(ref _state);
            long job = state & ~0xffffffffL;
            if (job != seen && (uint)state != 0)
            {
                Claim(job);
                seen = job;
                continue;
            }
            if (Spin(seen)) continue;
            Interlocked.Increment(ref _sleeping);
            state = Volatile.Read(ref _state);
            if (!_stop && ((state & ~0xffffffffL) == seen || (uint)state == 0)) _wake.Wait();
            Interlocked.Decrement(ref _sleeping);
        }
    }

    /// <summary>Waits actively for a job other than <paramref name="seen"/>; false when the time is over.</summary>
    private bool Spin(long seen)
    {
        long end = Stopwatch.GetTimestamp() + _spinTicks;
        do
        {
            for (int i = 0; i < 16; i++)
            {
                long state = Volatile.Read(ref _state);
                if (((state & ~0xffffffffL) != seen && (uint)state != 0) || _stop) return true;
                Thread.SpinWait(4);
            }
        }
        while (Stopwatch.GetTimestamp() < end);
        return false;
    }

    public void Dispose()
    {
        _stop = true;
        _wake.Release(_workers.Length + 1);
        foreach (Thread worker in _workers) worker.Join();
    }
}
