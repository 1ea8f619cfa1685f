using System.Text.RegularExpressions;
using LoraNet.Cuda.Ptx;

namespace LoraNet.Cuda.Tests.Ptx;

/// <summary>Structure of the generated text, without a GPU.</summary>
public sealed partial class KernelTextTests
{
    [Fact]
    public void EveryKernelIsOneClosedEntryForItsTarget()
    {
        foreach ((PtxArch arch, IKernelSpec spec) in KernelSpecs.All())
        {
            PtxKernelText k = spec.Build();
            string[] lines = k.Text.Split('\n');
            Assert.Equal($".version {arch.IsaVersion()}", lines[0]);
            Assert.Equal($".target {arch.Target()}", lines[1]);
            Assert.Single(Regex.Matches(k.Text, @"\.visible \.entry " + Regex.Escape(k.Entry) + @"\("));
            Assert.DoesNotContain(".extern .func", k.Text, StringComparison.Ordinal);
            Assert.DoesNotContain("call", k.Text, StringComparison.Ordinal);
            Assert.Equal(k.Text.Count(c => c == '{'), k.Text.Count(c => c == '}'));
            Assert.InRange(k.SharedBytes, 0, arch.SharedBytes());
            Assert.True(k.Text.All(char.IsAscii));
        }
    }

    [Fact]
    public void EveryRegisterAndLabelIsDeclaredOnce()
    {
        foreach ((PtxArch _, IKernelSpec spec) in KernelSpecs.All())
        {
            string text = spec.Build().Text, body = text[text.IndexOf("\n{\n", StringComparison.Ordinal)..];
            List<string> registers = [.. Declaration().Matches(body).SelectMany(m => m.Groups[1].Value.Split(", "))];
            Assert.Equal(registers.Count, registers.Distinct().Count());
            List<string> labels = [.. LabelDefinition().Matches(body).Select(m => m.Groups[1].Value)];
            Assert.Equal(labels.Count, labels.Distinct().Count());
            HashSet<string> known = [.. registers, .. labels];
            string instructions = Declaration().Replace(body, "");
            foreach (Match branch in Branch().Matches(instructions)) Assert.Contains(branch.Groups[1].Value, known);
            foreach (Match predicate in Predicate().Matches(instructions)) Assert.Contains(predicate.Groups[1].Value, known);
        }
    }

    [Fact]
    public void OldTargetsGetNoNewerInstructions()
    {
        foreach ((PtxArch arch, IKernelSpec spec) in KernelSpecs.All())
        {
            string text = spec.Build().Text;
            if (arch != PtxArch.Sm90a)
                foreach (string hopper in (string[])["wgmma", "mbarrier", "cp.async.bulk", "stmatrix", "setmaxnreg"]) Assert.DoesNotContain(hopper, text, StringComparison.Ordinal);
            if (arch == PtxArch.Sm75)
                foreach (string ampere in (string[])["cp.async", "bf16", "m16n8k16", "f16x2"]) Assert.DoesNotContain(ampere, text[text.IndexOf("\n{\n", StringComparison.Ordinal)..], StringComparison.Ordinal);
        }
    }

    [Fact]
    public void TextIsTheSameEveryTime()
    {
        foreach ((PtxArch _, IKernelSpec spec) in KernelSpecs.All()) Assert.Equal(spec.Build(), spec.Build());
    }

    [Fact]
    public void EntriesOfDifferentSpecsDiffer()
    {
        (PtxArch, string)[] names = [.. KernelSpecs.All().Select(s => (s.Arch, s.Spec.Build().Entry))];
        Assert.Equal(names.Length, names.Distinct().Count());
    }

    [Fact]
    public void RegisterClashesAreRefused()
    {
        PtxWriter k = new(PtxArch.Sm80, "k", 32);
        k.Reg("b32", "x row0");
        k.Reg("b32", "x");
        Assert.Throws<InvalidOperationException>(() => k.Reg("f32", "x"));
        Assert.Throws<InvalidOperationException>(() => k.Regs("b32", "row", 2));
    }

    [GeneratedRegex(@"\.reg \.\w+ ([^;]+);")]
    private static partial Regex Declaration();

    [GeneratedRegex(@"(?:^|[\s;])([A-Z][A-Z0-9_]*):(?=\s|$)")]
    private static partial Regex LabelDefinition();

    [GeneratedRegex(@"\bbra ([A-Z][A-Z0-9_]*);")]
    private static partial Regex Branch();

    [GeneratedRegex(@"@!?(\w+) ")]
    private static partial Regex Predicate();
}
