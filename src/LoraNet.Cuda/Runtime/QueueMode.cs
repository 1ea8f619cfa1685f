namespace LoraNet.Cuda.Runtime;

/// <summary>What a device does with queued work.</summary>
internal enum QueueMode
{
    /// <summary>Runs it.</summary>
    Run,

    /// <summary>Drops it, and begins to compile its kernels.</summary>
    Rehearse,

    /// <summary>Keeps it for replays.</summary>
    Record,
}
