namespace LoraNet.Cuda.Runtime;

/// <summary>Starts compilations, as many at a time as there are cores. Each has its own thread: compilers run for up to a second and wait
/// for one another, which would starve the shared pool.</summary>
internal static class Background
{
    private static readonly SemaphoreSlim _slots = new(Math.Clamp(Environment.ProcessorCount, 2, 8));

    /// <summary>Runs <paramref name="compile"/> on a new thread. A failure is not reported here: whoever needs the kernel meets it again.</summary>
    public static Task Run<T>(Func<T> compile) => Task.Factory.StartNew(
        () =>
        {
            _slots.Wait();
            try
            {
                _ = compile();
            }
            catch (Exception e) when (e is InvalidOperationException or NotSupportedException or LoraNetException)
            {
                // Lazy keeps the exception and throws it to whoever needs the kernel.
            }
            finally
            {
                _slots.Release();
            }
        },
        CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
}
