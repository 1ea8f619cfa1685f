using System.Reflection;
using LoraNet.Cuda.Runtime;
using LoraNet.Tensors;

namespace LoraNet.Cuda.Tests;

/// <summary>Translates every C# kernel to PTX, which needs no GPU.</summary>
public class PtxTextTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Every_kernel_becomes_PTX_without_calls_to_missing_functions(bool ampere)
    {
        using RecordingRuntime runtime = new(ampere);
        KernelSet kernels = new(runtime);
        FieldInfo[] families = [.. typeof(KernelSet).GetFields().Where(f => f.FieldType.IsGenericType)];
        Assert.True(families.Length > 30);
        foreach (FieldInfo field in families)
        {
            object family = field.GetValue(kernels)!;
            foreach (DType type in (DType[])[DType.F32, DType.BF16, DType.F16]) Instantiate(family, type);
        }
        Assert.True(runtime.Texts.Count > families.Length);
        foreach ((string kernel, string text) in runtime.Texts)
        {
            Assert.False(text.Contains(".extern", StringComparison.Ordinal), $"{kernel} calls something outside");
            bool exact = !kernel.Contains("F16", StringComparison.Ordinal);
            Assert.False(exact && text.Contains(".approx", StringComparison.Ordinal), $"{kernel} computes in F32 and uses an approximate instruction");
            Assert.False(text.Contains("atom.", StringComparison.Ordinal), $"{kernel} uses atomics");
            Assert.True(text.Contains(ampere ? ".target sm_80\n" : ".target sm_75\n", StringComparison.Ordinal), $"{kernel} would not load on {(ampere ? "an A100" : "a T4")}");
            Assert.False(!ampere && (text.Contains("bf16x2", StringComparison.Ordinal) || text.Contains(".f16x2", StringComparison.Ordinal)), $"{kernel} uses instructions that a T4 lacks");
            // Structures of two 8-byte fields move in one access, and everything but shared memory is known to be global.
            Assert.DoesNotContain("\tld.b", text);
            Assert.DoesNotContain("\tst.b", text);
        }
    }

    [Fact]
    public void Aligned_structures_move_in_one_access()
    {
        const string Text = "\tld.b64\t%rd7, [%rd6];\n\tld.b64\t%rd8, [%rd6+8];\n\tld.b64\t%rd9, [%rd5];\n\tld.b64\t%rd10, [%rd6+8];\n" +
            "\tst.b64\t[%rd1], %rd7;\n\tst.b64\t[%rd1+8], %rd8;\n\tst.f32\t[%rd2], %f1;\n\tld.shared.f32\t%f2, [%rd3];\n\tld.param.b64\t%rd1, [_a];\n\t@%p1 ld.b16\t%rs1, [%rd1];\n";
        const string Expected = "\tld.global.v2.b64\t{%rd7, %rd8}, [%rd6];\n\tld.global.b64\t%rd9, [%rd5];\n\tld.global.b64\t%rd10, [%rd6+8];\n" +
            "\tst.global.v2.b64\t[%rd1], {%rd7, %rd8};\n\tst.global.f32\t[%rd2], %f1;\n\tld.shared.f32\t%f2, [%rd3];\n\tld.param.b64\t%rd1, [_a];\n\t@%p1 ld.global.b16\t%rs1, [%rd1];\n";
        Assert.Equal(Expected, PtxCompiler.Improve(Text));
        Assert.Equal(Text + "\tcvta.shared.u64\t%rd1, %rd2;", PtxCompiler.Improve(Text + "\tcvta.shared.u64\t%rd1, %rd2;"));
    }

    private static void Instantiate(object family, DType type)
    {
        Type t = family.GetType();
        try
        {
            if ((bool)t.GetProperty(nameof(KernelFamily<>.HasActivation))!.GetValue(family)!)
            {
                MethodInfo get = t.GetMethods().Single(m => m.Name == "Get" && m.GetParameters().Length == 4);
                foreach (Activation f in Enum.GetValues<Activation>()) get.Invoke(family, [f, type, type, type]);
            }
            else if ((bool)t.GetProperty(nameof(KernelFamily<>.HasTypes))!.GetValue(family)!)
            {
                t.GetMethods().Single(m => m.Name == "Get" && m.GetParameters().Length == 3).Invoke(family, [type, type, type]);
            }
            else
            {
                t.GetMethods().Single(m => m.Name == "Get" && m.GetParameters().Length == 0).Invoke(family, null);
            }
        }
        catch (TargetInvocationException e)
        {
            throw new InvalidOperationException($"{t}: {e.InnerException!.Message}", e.InnerException);
        }
    }

    /// <summary>Compiles and keeps the text; launches nothing.</summary>
    private sealed class RecordingRuntime(bool ampere) : DeviceRuntime
    {
        private readonly PtxCompiler _compiler = new(ampere);

        public Dictionary<string, string> Texts { get; } = [];

        public override string Name => "none";

        public override int PreferredGroup => 256;

        public override int MaxGroup => 1024;

        public override int Warp => 32;

        public override int ManyGroups => 1024;

        public override int GemmSide => 16;

        public override nint Allocate(long bytes) => throw new NotSupportedException();

        public override void Free(nint address) => throw new NotSupportedException();

        public override void Upload(ReadOnlySpan<byte> source, nint destination) => throw new NotSupportedException();

        public override void Download(nint source, Span<byte> destination) => throw new NotSupportedException();

        public override void Copy(nint source, nint destination, long bytes) => throw new NotSupportedException();

        public override void Zero(nint address, long bytes) => throw new NotSupportedException();

        public override RecordedLaunches Record(Action body) => throw new NotSupportedException();

        public override void Synchronize()
        {
        }

        public override CompiledKernel<TArgs> Compile<TArgs>(MethodInfo method)
        {
            Texts[method.ToString()!] = _compiler.Compile(method).Text;
            return new Nothing<TArgs>();
        }

        public override void Dispose() => _compiler.Dispose();

        private sealed class Nothing<TArgs> : CompiledKernel<TArgs>
            where TArgs : unmanaged
        {
            public override void Launch(int gridX, int gridY, int group, in TArgs args)
            {
            }
        }
    }
}
