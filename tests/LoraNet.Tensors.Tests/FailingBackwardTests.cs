using LoraNet.Tensors.Autograd;
using LoraNet.Tensors.Reference;

namespace LoraNet.Tensors.Tests;

/// <summary>A tape whose backward threw.</summary>
public class FailingBackwardTests
{
    [Fact]
    public void After_a_backward_that_threw_a_cleared_tape_holds_nothing_and_works_again()
    {
        using ReferenceBackend backend = new();
        using Arena arena = new(backend);
        Tape tape = new(arena);
        for (int n = 0; n < 2; n++)
        {
            Tensor x = arena.Rent(backend.ComputeType, 1, 2);
            backend.Zero(x);
            x.RequiresGrad = true;
            Tensor inner = ScaleOp.Forward(tape, x, 2), failing = arena.Rent(backend.ComputeType, 1, 2);
            tape.Record<Failing>(failing);
            // Retired before the failing operation runs back, and never reached after it.
            Tensor last = ScaleOp.Forward(tape, failing, 3);
            last.Grad = arena.Rent(backend.ComputeType, 1, 2);
            backend.Zero(last.Grad);
            foreach (Tensor t in new[] { inner, failing, last }) Arena.Release(t);
            Assert.Throws<InvalidOperationException>(tape.Backward);
            tape.Clear();
            Arena.Release(x);
            Assert.Equal(0, tape.Count);
        }
        Tensor y = arena.Rent(backend.ComputeType, 1, 1);
        y.RequiresGrad = true;
        Tensor z = ScaleOp.Forward(tape, y, 5);
        z.Grad = arena.Rent(backend.ComputeType, 1, 1);
        backend.Upload([2f], z.Grad);
        tape.Backward();
        Assert.Equal([10f], backend.Download(y.Grad!));
    }

    private sealed class Failing : TapeNode
    {
        public override void Backward(Tape tape, Tensor outputGradient) => throw new InvalidOperationException("cannot");
    }
}
