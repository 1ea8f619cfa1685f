using LoraNet.Cuda.Runtime;
using LoraNet.Tensors;

namespace LoraNet.Cuda;

/// <content>Rehearsals, and work recorded as a CUDA graph.</content>
public sealed partial class CudaBackend
{
    // What ReplayValues are read from: the gradient scale and the step, four bytes each; made by the first recording.
    private nint _values;
    private ReplayValues _recording;
    private int _scratchMoves;

    /// <summary>Recorded work queued so far.</summary>
    internal int Replays { get; private set; }

    /// <inheritdoc/>
    public override bool CanRecord => LaunchProfile.Current is null;

    /// <inheritdoc/>
    public override int RecordedRowMultiple => _device.MaxGroup >= 1024 ? 128 : 16;

    /// <inheritdoc/>
    public override bool Rehearse(Action body)
    {
        _device.HostTouched = false;
        try
        {
            _device.In(QueueMode.Rehearse, body);
        }
        finally
        {
            UploadWaiting();
        }
        return !_device.HostTouched;
    }

    /// <inheritdoc/>
    public override IRecordedWork Record(ReplayValues values, Action body)
    {
        if (_values == 0) _values = AllocateMemory(8);
        _recording = values;
        return new RecordedWork(this, _device.Record(body));
    }

    /// <inheritdoc/>
    public override bool TryReplace(AttentionLayout recorded, AttentionLayout next) =>
        recorded.Prepared is DeviceLayout layout && layout.Owner == this && layout.TryReplace(next);

    private bool IsRecording => _device.Mode == QueueMode.Record;

    /// <summary>Where a kernel finds the gradient scale, or 0 for its argument.</summary>
    private long GradScaleAddress(float argument) => ValueAddress(argument.Equals(_recording.GradScale), 0);

    /// <summary>Where a kernel finds the step, or 0 for its argument.</summary>
    private long StepAddress(uint argument) => ValueAddress(argument == _recording.Step, 4);

    private long ValueAddress(bool announced, int offset)
    {
        if (!IsRecording) return 0;
        return announced ? _values + offset : throw new InvalidOperationException("Recorded work may use only the announced gradient scale and step.");
    }

    /// <summary>Runs <paramref name="body"/> even in a rehearsal: what is made once and kept must be right.</summary>
    private void ForReal(Action body)
    {
        if (IsRecording) throw new InvalidOperationException("Constants must be made before work is recorded.");
        _device.HostTouched = true;
        UploadWaiting();
        _device.In(QueueMode.Run, body);
    }

    private sealed class RecordedWork(CudaBackend backend, RecordedLaunches launches) : IRecordedWork
    {
        private readonly int _scratchMoves = backend._scratchMoves;

        public bool IsValid => backend._scratchMoves == _scratchMoves && !backend._disposed;

        public void Replay(ReplayValues values)
        {
            if (!IsValid) throw new InvalidOperationException("Memory of this recording has moved.");
            backend._device.Upload(System.Runtime.InteropServices.MemoryMarshal.AsBytes([values]), backend._values);
            launches.Launch();
            backend.Replays++;
        }

        public void Dispose() => launches.Dispose();
    }
}
