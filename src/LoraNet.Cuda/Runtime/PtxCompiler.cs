using System.Reflection;
using System.Text;
using ILGPU;
using ILGPU.Backends;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.PTX;
using ILGPU.IR;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using LoraNet.Cuda.Kernels;

namespace LoraNet.Cuda.Runtime;

/// <summary>Translates C# kernels to PTX text. Needs no GPU; only this part of ILGPU is used on real devices.</summary>
internal sealed class PtxCompiler : IDisposable
{
    private readonly Context _context;
    private readonly PTXBackend _backend;

    /// <summary>Prepares a compiler for sm_75, the oldest card supported, or for sm_80, whose instructions round to bfloat16.
    /// The driver's own compiler optimises the same text for whatever newer card is there.</summary>
    public PtxCompiler(bool ampere)
    {
        CudaArchitecture target = ampere ? CudaArchitecture.SM_80 : CudaArchitecture.SM_75;
        _context = Context.Create(b =>
        {
            b.Optimize(OptimizationLevel.O2).Inlining(InliningMode.Aggressive);
            HardwareCode.Register(b.GetIntrinsicManager(), ampere);
        });
        _backend = new PTXBackend(_context, new CudaCapabilityContext(target), target, CudaInstructionSet.ISA_70, null!);
    }

    /// <summary>PTX text of a kernel and the name of its entry.</summary>
    public (string Text, string Entry) Compile(MethodInfo method)
    {
        lock (_backend)
        {
            KernelSpecialization limits = method.GetCustomAttribute<LargestGroupAttribute>() is { } group ? new(group.Threads, null) : default;
            var kernel = (PTXCompiledKernel)_backend.Compile(EntryPointDescription.FromExplicitlyGroupedKernel(method), limits);
            string text = kernel.PTXAssembly;
            // A bodiless function is something ILGPU could not translate and would fail to load; a call means that an instruction of
            // Hardware was not written, and ILGPU's stand-in returns 0.
            if (text.Contains(".extern .func", StringComparison.Ordinal) || text.Contains("\tcall", StringComparison.Ordinal))
                throw new InvalidOperationException($"Kernel {method.Name} calls a function that has no GPU code.");
            return (Improve(text), kernel.Name);
        }
    }

    /// <summary>
    /// What ILGPU cannot know: the raw addresses in kernel arguments are all in global memory, and <see cref="Wide"/>,
    /// the only structure of two 8-byte fields, is aligned to 16 bytes, so that its fields move in one access.
    /// </summary>
    internal static string Improve(string text)
    {
        // An address of shared or local memory that has become generic (none has) would forbid this.
        if (text.Contains("cvta", StringComparison.Ordinal)) return text;
        string[] lines = text.Split('\n');
        StringBuilder result = new(text.Length + 1024);
        for (int i = 0; i < lines.Length; i++)
        {
            string line = lines[i];
            if (i + 1 < lines.Length && Access(line, "ld.b64") is var (a, at) && Access(lines[i + 1], "ld.b64") is var (b, next) && IsSecond(at, next))
            {
                line = $"\tld.global.v2.b64\t{{{a}, {b}}}, [{at}];";
                i++;
            }
            else if (i + 1 < lines.Length && Access(line, "st.b64", true) is var (c, to) && Access(lines[i + 1], "st.b64", true) is var (d, after) && IsSecond(to, after))
            {
                line = $"\tst.global.v2.b64\t[{to}], {{{c}, {d}}};";
                i++;
            }
            else
            {
                line = Global(Global(line, "ld.b"), "ld.f");
                line = Global(Global(line, "st.b"), "st.f");
            }
            result.Append(line);
            if (i + 1 < lines.Length) result.Append('\n');
        }
        return result.ToString();

        static string Global(string line, string operation)
        {
            int at = line.IndexOf(operation, StringComparison.Ordinal);
            // Whole instructions only, with or without a predicate before them.
            return at > 0 && line[at - 1] is '\t' or ' ' ? line.Insert(at + 2, ".global") : line;
        }
    }

    private static bool IsSecond(string first, string second) => second == first + "+8";

    /// <summary>Register and address of an unconditional access that is all of <paramref name="line"/>.</summary>
    private static (string Register, string Address)? Access(string line, string operation, bool store = false)
    {
        line = line.Trim();
        if (!line.StartsWith(operation + "\t", StringComparison.Ordinal) || !line.EndsWith(';')) return null;
        string[] parts = line[(operation.Length + 1)..^1].Split(", ");
        if (parts.Length != 2) return null;
        (string register, string address) = store ? (parts[1], parts[0]) : (parts[0], parts[1]);
        return address.StartsWith('[') && address.EndsWith(']') && register.StartsWith('%') ? (register, address[1..^1]) : null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _backend.Dispose();
        _context.Dispose();
    }
}
